/** How the value of a record is written: Confluent-framed Avro, bare Avro, or one JSON object. */
export type WireFormat = 'avro' | 'avro-raw' | 'json'
