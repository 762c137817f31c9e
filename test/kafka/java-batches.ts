/**
 * Batches that the Java client of Kafka 4.4.0 wrote (MemoryRecords.withIdempotentRecords at offset 41, producer 7, epoch 3,
 * sequence 5; withTransactionalRecords at 44; withEndTransactionMarker at 45), in base64. The first five hold
 * the same records: {@link JAVA_RECORDS}.
 */
export const JAVA_BATCHES = {
  none: 'AAAAAAAAACkAAACn/////wKZ3zgIAAAAAAACAAABi8/laHsAAAGL0H3+fwAAAAAAAAAHAAMAAAAFAAAAA7QBAAAACGvDqXl2dmFsdWUgb25lIHZhbHVlIG9uZSB2YWx1ZSBvbmUgdmFsdWUgb25lIHZhbHVlIG9uZSB2YWx1ZSBvbmUEFnRyYWNlcGFyZW50DDAwLWFiYwAAEAD1AQIBAngAIACI2MQJBAhnb25lAQICbgE=',
  gzip: 'AAAAAAAAACkAAACM/////wKKwYEvAAEAAAACAAABi8/laHsAAAGL0H3+fwAAAAAAAAAHAAMAAAAFAAAAAx+LCAAAAAAAAP/bwsjAwMCRfXhlZVlZYk5pqkJ+XqoCySwWsZKixOTUgsSi1LwSHgMD3cSkZAYGAYavjEyMTBUMCgwdN45wsnCkA5UyMjHlMQIANA7foXYAAAA=',
  snappy:
    'AAAAAAAAACkAAACQ/////wLqKl6MAAIAAAACAAABi8/laHsAAAGL0H3+fwAAAAAAAAAHAAMAAAAFAAAAA4JTTkFQUFkAAAAAAQAAAAEAAABLdlC0AQAAAAhrw6l5dnZhbHVlIG9uZSDCCgC8BBZ0cmFjZXBhcmVudAwwMC1hYmMAABAA9QECAQJ4ACAAiNjECQQIZ29uZQECAm4B',
  lz4: 'AAAAAAAAACkAAACM/////wIoRzctAAMAAAACAAABi8/laHsAAAGL0H3+fwAAAAAAAAAHAAMAAAAFAAAAAwQiTRhgQIJMAAAA/wa0AQAAAAhrw6l5dnZhbHVlIG9uZSAKAB7wIQQWdHJhY2VwYXJlbnQMMDAtYWJjAAAQAPUBAgECeAAgAIjYxAkECGdvbmUBAgJuAQAAAAA=',
  zstd: 'AAAAAAAAACkAAACJ/////wJK9pz3AAQAAAACAAABi8/laHsAAAGL0H3+fwAAAAAAAAAHAAMAAAAFAAAAAyi1L/0AWGQCAFQEtAEAAAAIa8OpeXZ2YWx1ZSBvbmUgBBZ0cmFjZXBhcmVudAwwMC1hYmMAABAA9QECAQJ4ACAAiNjECQQIZ29uZQECAm4BAQBtVJgBAAA=',
  transactional: 'AAAAAAAAACwAAAA6/////wJPpybiABAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAAAHAAMAAAAIAAAAARAAAAACawJ2AA==',
  abort: 'AAAAAAAAAC0AAABC/////wJvG9n+ADAAAAAAAAABi8/laAAAAAGLz+VoAAAAAAAAAAAHAAP/////AAAAASAAAAAIAAAAAAwAAAAAAAAA',
  commit: 'AAAAAAAAAC0AAABC/////wKbJQ+2ADAAAAAAAAABi8/laAAAAAGLz+VoAAAAAAAAAAAHAAP/////AAAAASAAAAAIAAAAAQwAAAAAAAAA',
} as const

export function javaBatch(name: keyof typeof JAVA_BATCHES): Buffer {
  return Buffer.from(JAVA_BATCHES[name], 'base64')
}

/** Header values and keys as text, for comparison with `plain`. */
export const JAVA_RECORDS = [
  {
    offset: 41,
    timestamp: 1700000000123,
    key: 'kéy',
    value: 'value one value one value one value one value one value one',
    headers: [
      ['traceparent', '00-abc'],
      ['', ''],
    ],
  },
  { offset: 42, timestamp: 1700000000000, key: null, value: 'x', headers: [] },
  { offset: 43, timestamp: 1700009999999, key: 'gone', value: null, headers: [['n', null]] },
]
