const SEED = 0x9747b28c
const M = 0x5bd1e995

/**
 * MurmurHash2 of bytes [start, end), as `org.apache.kafka.common.utils.Utils.murmur2` computes it: a signed 32-bit
 * integer.
 */
export function murmur2(bytes: Uint8Array, start = 0, end = bytes.length): number {
  const length = end - start
  const tail = start + (length & ~3)
  let hash = SEED ^ length
  for (let at = start; at < tail; at += 4) {
    let word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    word = Math.imul(word, M)
    word ^= word >>> 24
    hash = Math.imul(hash, M) ^ Math.imul(word, M)
  }
  if (tail < end) {
    if (tail + 2 < end) hash ^= bytes[tail + 2]! << 16
    if (tail + 1 < end) hash ^= bytes[tail + 1]! << 8
    hash = Math.imul(hash ^ bytes[tail]!, M)
  }
  hash = Math.imul(hash ^ (hash >>> 13), M)
  return hash ^ (hash >>> 15)
}

/** The partition that a Java producer picks for a key at bytes [start, end) of a topic with `partitions` partitions. */
export function partitionOfKey(bytes: Uint8Array, start: number, end: number, partitions: number): number {
  return (murmur2(bytes, start, end) & 0x7fffffff) % partitions
}
