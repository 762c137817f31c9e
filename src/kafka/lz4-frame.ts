import { MalformedBytesError } from './varint.ts'

const FRAME_MAGIC = 0x184d2204
/** Flags of the frame descriptor's first byte. */
const Flag = { blockChecksum: 0x10, contentSize: 0x08, dictionaryId: 0x01 } as const
/** By the descriptor's second byte, bits 4 to 6. */
const BLOCK_BYTES: Record<number, number> = { 4: 64 << 10, 5: 256 << 10, 6: 1 << 20, 7: 4 << 20 }
const STORED = 0x80000000

/** No LZ4 sequence grows more than this: one byte of match length stands for at most 255 bytes. */
const MAX_GROWTH = 255

/**
 * An upper bound of the decompressed size of an LZ4 frame (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md),
 * without decompressing it. The bound is cheap, from block sizes alone, while that stays within `enough`; otherwise the
 * blocks' sequences are walked and the size is exact.
 * @throws MalformedBytesError where the frame is cut or is none.
 */
export function lz4DecompressedSize(frame: Buffer, enough: number): number {
  let cheap = 0
  forEachBlock(frame, (start, end, stored, maxBytes) => {
    cheap += stored ? end - start : Math.min(maxBytes, (end - start) * MAX_GROWTH)
  })
  if (cheap <= enough) return cheap
  let exact = 0
  forEachBlock(frame, (start, end, stored) => {
    exact += stored ? end - start : blockSize(frame, start, end)
  })
  return exact
}

type Block = (start: number, end: number, stored: boolean, maxBytes: number) => void

function forEachBlock(frame: Buffer, visit: Block): void {
  if (frame.length < 7 || frame.readUInt32LE(0) !== FRAME_MAGIC) throw new MalformedBytesError('this is no LZ4 frame')
  const flags = frame[4]!
  const maxBytes = BLOCK_BYTES[(frame[5]! >> 4) & 7]
  if (maxBytes === undefined) throw new MalformedBytesError('the LZ4 frame names no valid block size')
  const checksum = flags & Flag.blockChecksum ? 4 : 0
  // Magic, flags, block size, [content size], [dictionary id], header checksum.
  let at = 7 + (flags & Flag.contentSize ? 8 : 0) + (flags & Flag.dictionaryId ? 4 : 0)
  for (;;) {
    if (at + 4 > frame.length) throw new MalformedBytesError('the LZ4 frame is cut')
    const field = frame.readUInt32LE(at)
    if (field === 0) return
    const start = at + 4
    const end = start + (field & ~STORED)
    if (end + checksum > frame.length) throw new MalformedBytesError('an LZ4 block is longer than its frame')
    visit(start, end, field >= STORED, maxBytes)
    at = end + checksum
  }
}

/** Literals and matches of a block, summed (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md). */
function blockSize(frame: Buffer, start: number, end: number): number {
  let size = 0
  let at = start
  const length = (nibble: number): number => {
    let sum = nibble
    for (let byte = nibble === 15 ? 255 : 0; byte === 255; sum += byte) byte = at < end ? frame[at++]! : 0
    return sum
  }
  while (at < end) {
    const token = frame[at++]!
    const literals = length(token >> 4)
    size += literals
    at += literals
    if (at >= end) break
    at += 2
    size += length(token & 15) + 4
  }
  return size
}
