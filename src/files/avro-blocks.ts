import { crc32, inflateRaw, zstdDecompress } from 'node:zlib'
import snappy from 'snappy'
import { messageOf } from '../core/errors.ts'

/** The most bytes of one block: a writer that makes larger ones would not read them again either. */
export const MAX_BLOCK_BYTES = 256 << 20

/** How a container file begins, and what its blocks end with. */
export interface ContainerHeader {
  readonly schema: string
  readonly codec: string
  readonly sync: Buffer
  /** Where the first block begins. */
  readonly end: number
}

/** A 64-bit integer as Avro writes it, and the position after it; undefined where the bytes end before. */
export function readVarint(bytes: Buffer, from: number): { value: number; end: number } | undefined {
  let encoded = 0
  let scale = 1
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at]!
    encoded += (byte & 0x7f) * scale
    if (byte < 0x80) return { value: encoded % 2 === 0 ? encoded / 2 : -(encoded + 1) / 2, end: at + 1 }
    scale *= 128
    if (at - from >= 9) return { value: Number.NaN, end: at + 1 }
  }
  return undefined
}

/** A whole number from 0 as Avro writes a long. */
export function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value * 2
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
  return Buffer.of(...bytes, rest)
}

export const MAGIC = Buffer.from('Obj\u0001')
const SYNC_BYTES = 16

/**
 * The header of a container file. `more` where its bytes are not all there yet.
 * @throws Error that says what is wrong with it
 */
export function parseHeader(bytes: Buffer): ContainerHeader | 'more' {
  if (bytes.length < MAGIC.length) return 'more'
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('does not begin as an Avro container file')
  const metadata = new Map<string, Buffer>()
  let at = MAGIC.length
  for (;;) {
    const block = readVarint(bytes, at)
    if (block === undefined) return 'more'
    at = block.end
    if (block.value === 0) break
    if (block.value < 0) {
      const size = readVarint(bytes, at)
      if (size === undefined) return 'more'
      at = size.end
    }
    for (let left = Math.abs(block.value); left > 0; left--) {
      const key = readBytes(bytes, at)
      const value = key === undefined ? undefined : readBytes(bytes, key.end)
      if (key === undefined || value === undefined) return 'more'
      metadata.set(key.bytes.toString(), value.bytes)
      at = value.end
    }
    if (Number.isNaN(block.value)) throw new Error('has metadata that is not valid Avro')
  }
  if (bytes.length < at + SYNC_BYTES) return 'more'
  const schema = metadata.get('avro.schema')?.toString()
  if (schema === undefined) throw new Error('names no schema')
  const sync = Buffer.from(bytes.subarray(at, at + SYNC_BYTES))
  return { schema, codec: metadata.get('avro.codec')?.toString() || 'null', sync, end: at + SYNC_BYTES }
}

function readBytes(bytes: Buffer, from: number): { bytes: Buffer; end: number } | undefined {
  const length = readVarint(bytes, from)
  if (length === undefined) return undefined
  if (!(length.value >= 0 && length.value <= MAX_BLOCK_BYTES)) throw new Error('has metadata that is not valid Avro')
  const end = length.end + length.value
  return end > bytes.length ? undefined : { bytes: Buffer.from(bytes.subarray(length.end, end)), end }
}

type Decompress = (bytes: Buffer) => Promise<Buffer>

const options = { maxOutputLength: MAX_BLOCK_BYTES }

/** How blocks of each codec are decompressed; undefined for those that lie in the file as they are. */
const CODECS: Readonly<Record<string, Decompress | undefined>> = {
  null: undefined,
  deflate: bytes =>
    new Promise((resolve, reject) =>
      inflateRaw(bytes, options, (error, all) => (error ? reject(error) : resolve(all))),
    ),
  zstandard: bytes =>
    new Promise((resolve, reject) =>
      zstdDecompress(bytes, options, (error, all) => (error ? reject(error) : resolve(all))),
    ),
  snappy: async bytes => {
    if (snappyLength(bytes) > MAX_BLOCK_BYTES) throw new Error(`it has more than ${MAX_BLOCK_BYTES} bytes`)
    const all = (await snappy.uncompress(bytes.subarray(0, -4), { asBuffer: true })) as Buffer
    if (crc32(all) !== bytes.readUInt32BE(bytes.length - 4)) throw new Error('its checksum is another')
    return all
  },
}

/** What a snappy block says that it holds: the library takes no limit. */
function snappyLength(bytes: Buffer): number {
  let length = 0
  for (let i = 0; i < 5; i++) {
    const byte = bytes[i]
    if (byte === undefined) break
    length += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) return length
  }
  throw new Error('it does not begin as snappy')
}

/** @throws Error for a codec that is not known */
export function decompressorOf(codec: string): Decompress | undefined {
  if (Object.hasOwn(CODECS, codec)) return CODECS[codec]
  throw new Error(`is compressed with ${codec}; Sluice reads ${Object.keys(CODECS).join(', ')}`)
}

/** @throws Error that says where the block lies */
export async function decompressAt(decompress: Decompress, bytes: Buffer, position: number): Promise<Buffer> {
  try {
    return await decompress(bytes)
  } catch (error) {
    throw new Error(`has a block at byte ${position} that cannot be decompressed: ${messageOf(error)}`)
  }
}
