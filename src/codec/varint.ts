/** The most bytes that an Avro `int` and an Avro `long` take. */
export const MAX_INT_BYTES = 5
export const MAX_LONG_BYTES = 10

/**
 * Writes a 64-bit integer, given as two's complement words, as an Avro `long` (zigzag, then seven bits a byte, the low
 * ones first) at `at`; returns the position after it.
 */
export function writeLong(target: Uint8Array, at: number, low: number, high: number): number {
  const sign = high >> 31
  let lo = (low << 1) ^ sign
  let hi = ((high << 1) | (low >>> 31)) ^ sign
  let pos = at
  while (hi !== 0 || (lo & ~0x7f) !== 0) {
    target[pos++] = (lo & 0x7f) | 0x80
    lo = (lo >>> 7) | (hi << 25)
    hi >>>= 7
  }
  target[pos] = lo
  return pos + 1
}

/** Writes a 32-bit integer as an Avro `int`, or as the `long` of a length or count; returns the position after it. */
export function writeInt(target: Uint8Array, at: number, value: number): number {
  return writeLong(target, at, value, value >> 31)
}
