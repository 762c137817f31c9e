/**
 * The header of a record batch, magic 2, as it lies in the log and on the wire: big-endian, `BATCH_HEADER_BYTES` long,
 * followed by the records (https://kafka.apache.org/documentation/#recordbatch).
 */
export const BatchField = {
  baseOffset: 0,
  /** Bytes after this field. */
  length: 8,
  /** Set by the broker; like what lies before it not covered by the CRC. */
  leaderEpoch: 12,
  magic: 16,
  /** CRC-32C of everything from `attributes` to the end. */
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  count: 57,
} as const

export const BATCH_HEADER_BYTES = 61

/** Bytes up to and with the length field, which does not count them. */
export const LENGTH_PREFIX_BYTES = 12

export const MAGIC = 2

/** Bits of the attributes field. */
export const Attribute = {
  codec: 0x07,
  logAppendTime: 0x08,
  transactional: 0x10,
  control: 0x20,
} as const

const TWO_TO_32 = 2 ** 32

/** A signed 64-bit integer as a number: exact to 2^53, rounded beyond. */
export function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * TWO_TO_32 + bytes.readUInt32BE(at + 4)
}

/** Writes an integer of at most 2^53 in magnitude as a signed 64-bit one. */
export function writeInt64(bytes: Buffer, at: number, value: number): void {
  const high = Math.floor(value / TWO_TO_32)
  bytes.writeInt32BE(high, at)
  bytes.writeUInt32BE(value - high * TWO_TO_32, at + 4)
}
