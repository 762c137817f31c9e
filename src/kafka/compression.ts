import { constants, gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import lz4 from 'lz4-napi'
import snappy from 'snappy'
import { lz4DecompressedSize } from './lz4-frame.ts'
import { MalformedBytesError } from './varint.ts'

/** Codecs by the number that a batch's attributes hold. */
export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

export type Codec = (typeof CODECS)[number]

/**
 * Decompresses the records section of a batch. `none` gives `bytes` itself; any other codec a new buffer of at most
 * `maxBytes`.
 * @throws MalformedBytesError where the bytes are not what the codec writes, or hold more than `maxBytes`.
 */
export function decompress(codec: Codec, bytes: Buffer, maxBytes: number): Buffer {
  if (codec === 'none') return bytes
  try {
    return DECOMPRESS[codec](bytes, maxBytes)
  } catch (error) {
    if (error instanceof MalformedBytesError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(maxBytes)
    throw new MalformedBytesError(`the records are not valid ${codec}: ${(error as Error).message}`)
  }
}

/** Compresses a records section as Java clients read it. `none` gives `bytes` itself, any other codec a new buffer. */
export function compress(codec: Codec, bytes: Buffer): Buffer {
  switch (codec) {
    case 'none':
      return bytes
    case 'gzip':
      return gzipSync(bytes)
    case 'snappy':
      return compressXerial(bytes)
    case 'lz4':
      return lz4.compressFrameSync(bytes)
    case 'zstd':
      return zstdCompressSync(bytes)
  }
}

const DECOMPRESS: Record<Exclude<Codec, 'none'>, (bytes: Buffer, maxBytes: number) => Buffer> = {
  gzip: (bytes, maxBytes) => gunzipSync(bytes, { maxOutputLength: maxBytes }),
  snappy: (bytes, maxBytes) => (isXerial(bytes) ? decompressXerial : decompressSnappyBlock)(bytes, maxBytes),
  lz4: (bytes, maxBytes) => {
    // The library takes no limit, and LZ4 can grow 255-fold: measure first.
    if (lz4DecompressedSize(bytes, maxBytes) > maxBytes) throw tooLarge(maxBytes)
    return lz4.decompressFrameSync(bytes)
  },
  zstd: (bytes, maxBytes) =>
    zstdDecompressSync(bytes, { maxOutputLength: maxBytes, params: { [constants.ZSTD_d_windowLogMax]: 27 } }),
}

function tooLarge(maxBytes: number): MalformedBytesError {
  return new MalformedBytesError(`the records hold more than ${maxBytes} bytes when decompressed`)
}

// Snappy comes in two shapes. Java and most others write the stream of the xerial library: a magic, two version
// numbers, then blocks, each after its length. librdkafka may write one bare block.

const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const XERIAL_HEADER_BYTES = XERIAL_MAGIC.length + 8
const XERIAL_VERSION = 1
const XERIAL_BLOCK_BYTES = 32 * 1024

/** Results in JavaScript's own memory: for batches of usual size, four times as fast as wrapping foreign memory. */
const SNAPPY_OPTIONS = { copyOutputData: true }

function isXerial(bytes: Buffer): boolean {
  return bytes.length >= XERIAL_HEADER_BYTES && bytes.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)
}

function decompressXerial(bytes: Buffer, maxBytes: number): Buffer {
  const blocks: Buffer[] = []
  let left = maxBytes
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length; ) {
    if (bytes.length - at < 4) throw new MalformedBytesError('the snappy stream ends within a block length')
    const length = bytes.readInt32BE(at)
    at += 4
    if (length < 0 || length > bytes.length - at)
      throw new MalformedBytesError('a snappy block is longer than its stream')
    const block = decompressSnappyBlock(bytes.subarray(at, at + length), left)
    blocks.push(block)
    left -= block.length
    at += length
  }
  return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks)
}

function decompressSnappyBlock(block: Buffer, maxBytes: number): Buffer {
  if (snappyBlockSize(block) > maxBytes) throw tooLarge(maxBytes)
  return snappy.uncompressSync(block, SNAPPY_OPTIONS) as Buffer
}

/** A block begins with its decompressed size, as an unsigned varint. */
function snappyBlockSize(block: Buffer): number {
  let size = 0
  for (let at = 0; at < 5 && at < block.length; at++) {
    size += (block[at]! & 0x7f) * 2 ** (7 * at)
    if (block[at]! < 0x80) return size
  }
  throw new MalformedBytesError('a snappy block has no valid size')
}

function compressXerial(bytes: Buffer): Buffer {
  const header = Buffer.alloc(XERIAL_HEADER_BYTES)
  XERIAL_MAGIC.copy(header)
  header.writeInt32BE(XERIAL_VERSION, XERIAL_MAGIC.length)
  header.writeInt32BE(XERIAL_VERSION, XERIAL_MAGIC.length + 4)
  const parts: Buffer[] = [header]
  for (let at = 0; at < bytes.length; at += XERIAL_BLOCK_BYTES) {
    const block = snappy.compressSync(bytes.subarray(at, at + XERIAL_BLOCK_BYTES), SNAPPY_OPTIONS)
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}
