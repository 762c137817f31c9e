package peer;

/** Why a value cannot be decoded: the headers error-code and error-message of its dead letter. */
record Fault(String code, String message) {
    static final Fault NULL_VALUE = new Fault("null-value", "the record has no value; expected features");
}
