/**
 * The one table of errors. Every fault that a person or a dead letter can meet has a row here: `docs/errors.md` is
 * generated from it, and a test compares the two.
 *
 * What the worker does about an error (`response`) is part of the contract:
 * - `dead-letter`: the record goes to the dead-letter topic, in the transaction of its neighbours; nothing else stops.
 * - `retry`: the whole system is at fault, not a record. The worker waits with backoff, is not ready, and says why.
 * - `halt`: one partition stops until a person decides, because going on would skip data.
 * - `exit`: trying again cannot help; the process ends with `exitCode`.
 * - `refuse`: a request over HTTP is answered with the error; nothing else is touched.
 */

/** Where on a record's journey an error arose; the `error-stage` header of a dead letter. */
export type Stage = 'config' | 'start' | 'fetch' | 'decode' | 'inference' | 'encode' | 'commit' | 'request'

export type Response = 'dead-letter' | 'retry' | 'halt' | 'exit' | 'refuse'

interface ErrorRow {
  readonly stage: Stage
  readonly response: Response
  /** What it means, in one sentence. */
  readonly meaning: string
  /** What a person does about it. */
  readonly remedy: string
}

const row = (stage: Stage, response: Response, meaning: string, remedy: string): ErrorRow => ({
  stage,
  response,
  meaning,
  remedy,
})

export const ERRORS = {
  // Records: always a dead letter, never a stop.
  'null-value': row(
    'decode',
    'dead-letter',
    'The record has no value (a tombstone), so there is nothing to predict from.',
    'Do not send tombstones to the input topic, or clean them out upstream.',
  ),
  'record-too-large': row(
    'decode',
    'dead-letter',
    'The value is larger than MAX_RECORD_BYTES.',
    'Raise MAX_RECORD_BYTES if such records are meant to be predicted.',
  ),
  'wrong-magic-byte': row(
    'decode',
    'dead-letter',
    'The value does not begin with the byte 0x00 of the Confluent framing.',
    'Send framed Avro, or set INPUT_FORMAT to what is sent (avro-raw, json).',
  ),
  'unknown-schema-id': row(
    'decode',
    'dead-letter',
    'The schema id of the framing is known neither to the registry nor to SCHEMA_DIR.',
    'Register the schema that the producer used, and send the dead letters to the input topic again.',
  ),
  'unusable-schema': row(
    'decode',
    'dead-letter',
    'The writer schema could be read but cannot be decoded: it is no Avro record, or not valid Avro.',
    'Correct the schema under this id.',
  ),
  'truncated-message': row(
    'decode',
    'dead-letter',
    'The value ends before its schema does.',
    'Look at the producer: it wrote with another schema than it named, or cut the value.',
  ),
  'trailing-bytes': row(
    'decode',
    'dead-letter',
    'The value goes on after its schema ended.',
    'Look at the producer: it wrote with another schema than it named.',
  ),
  'invalid-avro': row(
    'decode',
    'dead-letter',
    'A length, a union index or a number in the value is not valid Avro for its schema.',
    'Look at the producer: the value is damaged or was written with another schema.',
  ),
  'invalid-json': row(
    'decode',
    'dead-letter',
    'The value is not one JSON object.',
    'Send one JSON object of features in each record.',
  ),
  'invalid-csv': row(
    'decode',
    'dead-letter',
    'A row of a CSV file has more or fewer cells than the header.',
    'Quote cells that contain the separator, and write all rows with the columns of the header.',
  ),
  'feature-missing': row(
    'decode',
    'dead-letter',
    'The record has no field for a feature of the model, and the feature has no default.',
    'Add the field to the producer, or give the feature a default in model.json.',
  ),
  'feature-null': row(
    'decode',
    'dead-letter',
    'A feature is null and has no default.',
    'Fill the value upstream, or give the feature a default in model.json.',
  ),
  'feature-type': row(
    'decode',
    'dead-letter',
    'A feature has a type that the tensor cannot take without changing its meaning.',
    'Send the type that the message names.',
  ),
  'feature-range': row(
    'decode',
    'dead-letter',
    'A number does not fit the integer type of its tensor.',
    'Send a number within the range that the message names.',
  ),
  'feature-not-finite': row(
    'decode',
    'dead-letter',
    'A feature is NaN or infinite, and ALLOW_NON_FINITE is off.',
    'Fill the value upstream, or set ALLOW_NON_FINITE=true if the model was trained on such values.',
  ),
  'array-length': row(
    'decode',
    'dead-letter',
    'An array feature has more or fewer elements than the model takes.',
    'Send as many elements as the message names.',
  ),
  'inference-failed': row(
    'inference',
    'dead-letter',
    'The model fails on this row, alone, twice, and not on a row that is known to be good.',
    'Run the row with `sluice predict` to see the failure; correct the data or the model.',
  ),
  'inference-crashed': row(
    'inference',
    'dead-letter',
    'The session thread dies on this row, alone, twice, and not on a row that is known to be good.',
    'Run the row with `sluice predict` to see it; correct the data, the model or its custom operators.',
  ),
  'inference-hung': row(
    'inference',
    'dead-letter',
    'The model does not return from this row within RUN_TIMEOUT_MS, and does from a row that is known to be good; or not from a few rows of which this is one, as the message says then, and to run each alone would have cost too many threads.',
    'Run the row with `sluice predict`; if it is only slow, raise RUN_TIMEOUT_MS. Of several rows, most are good: replay them.',
  ),
  'prediction-too-large': row(
    'encode',
    'dead-letter',
    'The prediction is larger than MAX_OUTPUT_BYTES, so the output topic would refuse it.',
    "Raise MAX_OUTPUT_BYTES together with the output topic's max.message.bytes.",
  ),

  // Set-up: trying again cannot help.
  'invalid-config': row(
    'config',
    'exit',
    'A setting, an option or an argument is unknown, or has a value that is not allowed.',
    'Correct what the message names; `sluice COMMAND --help` shows the usage, `sluice config` all settings.',
  ),
  'model-missing': row(
    'start',
    'exit',
    'The model or the version is not in the store.',
    'Check MODEL_STORE, MODEL_NAME and MODEL_VERSION; the message lists what the store has.',
  ),
  'model-corrupt': row(
    'start',
    'exit',
    'A file of the bundle is missing, cannot be read, breaks the format of docs/models.md, or does not match its hash.',
    'Correct what the message names; if the bundle was right where it was made, copy it again.',
  ),
  'external-data': row(
    'start',
    'exit',
    'model.onnx keeps weights in other files, which the bundle does not list, or which lie outside of it.',
    'Export the model as one file; or let `sluice model add --allow-external-data` take the files along, if they lie beside it.',
  ),
  'model-unsupported': row(
    'start',
    'exit',
    'The model takes or gives something that Sluice cannot carry: no tensor, another element type, rows of open size.',
    'Export it as the message says.',
  ),
  'schema-misfit': row(
    'start',
    'exit',
    'The schema of the input records lacks a feature of the model, or has it in a type that the tensor does not take.',
    'Correct the schema, name the features after its fields, or give a feature a default in model.json.',
  ),
  'model-exists': row(
    'start',
    'exit',
    'The store has this version of the model already, and versions never change.',
    'Add it under a new version.',
  ),
  'store-refused': row(
    'start',
    'exit',
    'The object storage of MODEL_STORE answered, and said no: no such bucket, credentials that are missing or refused, another region.',
    'The message carries its answer. Check MODEL_STORE, MODEL_STORE_ENDPOINT and MODEL_STORE_REGION, and the credentials (docs/models.md says where they come from, and which rights they need).',
  ),
  'model-signature': row(
    'start',
    'exit',
    'The tensors that model.json names are not those of model.onnx.',
    'Correct model.json or export the model again; the message shows both sides.',
  ),
  'golden-mismatch': row(
    'start',
    'exit',
    'The model does not repeat its golden samples on this execution provider.',
    'Do not serve it: compare the versions of trainer and runtime, or correct the samples.',
  ),
  'session-failed': row(
    'start',
    'exit',
    'ONNX Runtime could not open the model.',
    'The message carries the reason of the runtime: an unknown operator, a damaged file, too little memory.',
  ),
  'provider-unavailable': row(
    'start',
    'exit',
    'SESSIONS names an execution provider that this runtime does not have.',
    'Use a provider that the message lists, or install its libraries (docs/inference.md).',
  ),
  'sessions-hung': row(
    'inference',
    'exit',
    'So many session threads hang in the runtime that only a new process can free what they hold.',
    'Let the orchestrator start the worker again. If it repeats, look at the device and its driver; a dead letter of code inference-hung names a row that does it.',
  ),
  'broker-too-old': row(
    'start',
    'exit',
    'The broker is older than Kafka 4.0, which exactly-once needs, or than Kafka 3.1, which everything needs.',
    'Upgrade the cluster; with Kafka 3.1 to 3.9, PROCESSING_GUARANTEE=at-least-once works.',
  ),
  'authentication-failed': row(
    'start',
    'exit',
    'The broker refused the credentials, or its certificate is not trusted.',
    'Check KAFKA_SASL_* and KAFKA_SSL_*.',
  ),
  'transaction-timeout-refused': row(
    'start',
    'exit',
    "TRANSACTION_TIMEOUT_MS is above the broker's transaction.max.timeout.ms.",
    'Lower TRANSACTION_TIMEOUT_MS or raise the limit of the broker.',
  ),
  'registry-refused': row(
    'start',
    'exit',
    'The schema registry answered, and said no.',
    'The message carries its answer: most often an incompatible schema or missing rights on the subject.',
  ),
  'schema-dir-invalid': row(
    'start',
    'exit',
    'SCHEMA_DIR is missing, or its ids.json is not a map of ids to files.',
    'Correct the folder that the message names, set SCHEMA_REGISTRY_URL, or choose INPUT_FORMAT and OUTPUT_FORMAT other than avro, which need neither.',
  ),

  // The world around us: wait, stay alive, say why.
  'broker-unreachable': row(
    'fetch',
    'retry',
    'No broker answers.',
    'Check KAFKA_BROKERS, the network and, where the message speaks of TLS, KAFKA_SSL_*. A worker goes on by itself once a broker answers.',
  ),
  'topic-missing': row(
    'fetch',
    'retry',
    'A topic does not exist.',
    'Correct its name, or create it: `sluice topics create` makes all that the settings name.',
  ),
  'not-authorised': row(
    'commit',
    'retry',
    'The principal of this worker lacks a right on a topic, a group or a transactional id.',
    'Grant what the message says is refused: READ on the input topic and on the group, WRITE on the output and dead-letter topics and on the transactional ids that begin with `<GROUP_ID>.`. The worker goes on by itself.',
  ),
  'registry-unreachable': row(
    'decode',
    'retry',
    'The schema registry does not answer.',
    'Check SCHEMA_REGISTRY_URL. Records wait, none is lost or dead-lettered.',
  ),
  'store-unreachable': row(
    'start',
    'retry',
    'The object storage of MODEL_STORE does not answer, and the version is not in MODEL_CACHE_DIR.',
    'Check MODEL_STORE_ENDPOINT and the network. A worker waits, and starts by itself once the storage answers.',
  ),
  'session-crashed': row(
    'inference',
    'retry',
    'A session thread died; its rows run again on another.',
    'Nothing at first. If it repeats, look for a model or library that kills the process.',
  ),
  'session-opening': row(
    'start',
    'retry',
    'A session has been opening the model for long, at the start of the worker.',
    'Wait where the provider builds an engine (TensorRT takes minutes). If it never ends, look at the device and its driver.',
  ),
  'session-hung': row(
    'inference',
    'retry',
    'A run did not return within RUN_TIMEOUT_MS; its thread is left behind, its rows run again on another.',
    'Nothing at first. If it repeats, look at the device and its driver, or raise RUN_TIMEOUT_MS if the model is that slow.',
  ),
  'output-refused': row(
    'commit',
    'retry',
    'The broker refuses to append to an output topic, for a reason that a person can mend.',
    "The message carries the reason. Too large: raise the topic's max.message.bytes or lower MAX_OUTPUT_BYTES; otherwise free the disk, bring the replicas back. The worker goes on by itself.",
  ),
  'corrupt-batch': row(
    'fetch',
    'retry',
    'A record batch does not match its checksum or its layout. It is read again; nothing behind it is skipped.',
    'If it lasts, check disks, network and the broker; the message names the offsets.',
  ),
  'transaction-unknown': row(
    'commit',
    'retry',
    'The outcome of a transaction is unknown after a time-out or a lost connection.',
    'Nothing: the task starts over from the committed offset, which tells the outcome.',
  ),

  // One partition stops, because going on would skip data quietly.
  'offset-out-of-range': row(
    'fetch',
    'halt',
    'The committed offset is outside the log: retention removed unread records, or the log was cut off at its end.',
    'Decide: the message says which offsets are lost; ON_OFFSET_LOSS=continue accepts that and reads on.',
  ),
  'topic-recreated': row(
    'fetch',
    'halt',
    'The input topic was deleted and created again: the committed offset belongs to the old one.',
    'Decide: the message says what can no longer be read; ON_OFFSET_LOSS=continue accepts that and begins the new topic at START_FROM.',
  ),
  'log-truncated': row(
    'fetch',
    'halt',
    'Records that the group has read are gone from the end of the log, and others may have taken their offsets.',
    'Decide: the message says which; ON_OFFSET_LOSS=continue accepts that and reads on where the log was cut off. Look for an unclean leader election or a lost disk.',
  ),
  'offset-missing': row(
    'fetch',
    'halt',
    'The group has worked on this partition before, but its committed offset is gone.',
    'Decide: restore the offset, or set ON_OFFSET_LOSS=continue to start again from START_FROM.',
  ),
  // What the commands of the rollout have to say; none of them ends a worker.
  'rollout-invalid': row(
    'start',
    'exit',
    'The change makes no sense after what is live: a canary of the stable version, a rollback where nothing came before.',
    'Look at `sluice model status`; nothing was changed.',
  ),
  'rollout-refused': row(
    'start',
    'exit',
    'A version cannot be loaded or verified where it is to serve, so the plan was withdrawn. What serves goes on.',
    'The message names the replica, the version and the reason: mend the bundle or the place, and try again.',
  ),
  'rollout-timeout': row(
    'start',
    'exit',
    'Replicas did not say in time that they were ready (then the plan was withdrawn and nothing has changed), or that they had switched (then it is live).',
    'The message says which, and names the members of the group that are missing. Look at them; raise --timeout where loading takes long.',
  ),
  'rollout-superseded': row(
    'commit',
    'exit',
    'Another command changes the rollout of the same model, and has fenced this one.',
    'Look at `sluice model status` for what the other one did, and try again if it is still needed.',
  ),
  'rollout-stopped': row(
    'start',
    'exit',
    'The command was stopped before its plan was live everywhere.',
    'The message says whether the plan was withdrawn or is live; `sluice model status` shows it.',
  ),
  // What `sluice replay` has to say.
  'replay-mismatch': row(
    'start',
    'exit',
    'A replay of this name was begun with other options, or its group is used by something else.',
    'Run the command with the same options again to go on with it, or choose another --replay-id.',
  ),
  'replay-range': row(
    'start',
    'exit',
    'Records that were asked for are not there, or nobody knows who answered them.',
    'The message names partition and offsets: choose others with --from and --to, or a version with --model-version.',
  ),
  'replay-output': row(
    'start',
    'exit',
    'OUTPUT_TOPIC of a replay has predictions of a live group in it, or is one of the replay’s other topics.',
    'Name a topic of its own with --output-topic; --force writes among the live predictions all the same.',
  ),
  'replay-stopped': row(
    'start',
    'exit',
    'The replay was stopped before it was complete. What it has committed stands.',
    'Run the same command again: it goes on where it was.',
  ),
  // What the inference API answers to a request that it does not serve.
  'request-invalid': row(
    'request',
    'refuse',
    'The request is not one of the Open Inference Protocol, or its tensors are not those of the model (status 400).',
    'Send what the message names; `GET /v2/models/NAME` says which tensors the model takes.',
  ),
  'request-failed': row(
    'request',
    'refuse',
    'The model fails on a row of the request, alone, and not on a row that is known to be good (status 400).',
    'Correct the row that the message names, and send the others again where it names several.',
  ),
  'version-not-served': row(
    'request',
    'refuse',
    'This process serves no such model, or not this version of it (status 404).',
    'The message lists what is served. A worker serves the versions of its rollout, `sluice serve` those named by --model.',
  ),
  'request-too-large': row(
    'request',
    'refuse',
    'The body is larger than API_MAX_BODY_BYTES, or its answer would be, or it has more rows than API_MAX_ROWS (status 413).',
    'Send the rows in several requests, or raise the limit.',
  ),
  overloaded: row(
    'request',
    'refuse',
    'As many requests wait as API_MAX_WAITING or API_MAX_WAITING_BYTES allows, so this one was not begun (status 503).',
    'Send it again after Retry-After seconds; add sessions or replicas if it lasts.',
  ),
  'deadline-exceeded': row(
    'request',
    'refuse',
    'The request waited for a session until its deadline, and was not run (status 503).',
    'Send it again; add sessions or replicas if it lasts. In a worker, API_SHARE is what the API gets while records wait.',
  ),
  'not-ready': row(
    'request',
    'refuse',
    'The process starts or stops, or the sessions of the version are being closed (status 503).',
    'Send it again, or to another replica.',
  ),
  'requests-hung': row(
    'request',
    'refuse',
    'Rows of requests have left so many session threads of a version hanging that a worker answers no more requests for it (status 503). Its stream goes on.',
    'Ask another replica; to have this one answer again, start it anew. Find out who sends such rows, or serve them by `sluice serve`.',
  ),
  // What `sluice audit` has to say.
  'audit-failed': row(
    'commit',
    'exit',
    'The audit found records that are lost, doubled, misordered, torn, foreign or of another value, or could not read or compare all that it had to.',
    'docs/audit.md says what the report means, and what to do.',
  ),
  // What `sluice score` has to say.
  'file-unusable': row(
    'start',
    'exit',
    'A file cannot be opened, read or written.',
    'The message carries the reason of the system: a path, a right, a full disk.',
  ),
  'file-invalid': row(
    'decode',
    'exit',
    'The input file is not of its format, or is damaged so that the rows behind the damage cannot be told apart.',
    'Correct the file, or name its format with --input-format.',
  ),
  'file-exists': row(
    'start',
    'exit',
    'The file that is to be written is there already.',
    'Write to another file, or replace it with --force.',
  ),
  'too-many-dead-letters': row(
    'commit',
    'exit',
    'More rows could not be predicted than --max-dead-letters allows, so no output was made.',
    'Look at the dead letters that the message names; correct the rows, or raise the limit.',
  ),
  interrupted: row(
    'commit',
    'exit',
    'A signal ended the command before it was done.',
    'Run it again: it starts over from the beginning.',
  ),
  internal: row(
    'start',
    'exit',
    'A defect of Sluice itself.',
    'Please report it with the message and the log; no record is lost: the open transaction is aborted.',
  ),
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

/**
 * An error for people. `message` says what happened, to what, and what was expected; the remedy comes from the table.
 * Secrets never enter a message.
 */
export class SluiceError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'SluiceError'
    this.code = code
  }

  get stage(): Stage {
    return ERRORS[this.code].stage
  }

  get response(): Response {
    return ERRORS[this.code].response
  }

  get remedy(): string {
    return ERRORS[this.code].remedy
  }

  /** 2 for wrong usage or configuration, otherwise 1. */
  get exitCode(): 1 | 2 {
    return this.code === 'invalid-config' ? 2 : 1
  }
}

/** The error itself if it is one for people, otherwise one of code `fallback` that carries its message. */
export function asSluiceError(error: unknown, fallback: ErrorCode): SluiceError {
  return error instanceof SluiceError ? error : new SluiceError(fallback, messageOf(error), { cause: error })
}

/** What is wrong with one record. A plain value, because bad records may come by the thousand and a stack costs. */
export interface RecordFault {
  readonly code: ErrorCode
  readonly message: string
}

/** The message of anything thrown, without its stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
