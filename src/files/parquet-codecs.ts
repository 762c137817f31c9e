import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'
import type { Compressors } from 'hyparquet'
import lz4 from 'lz4-napi'
import snappy from 'snappy'

type Decompress = NonNullable<Compressors['GZIP']>

const bounded =
  (decompress: (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array): Decompress =>
  (bytes, length) =>
    decompress(bytes, { maxOutputLength: Math.max(length, 1) })

/** How pages are decompressed; the file says how long each becomes. */
export const PARQUET_CODECS: Compressors = {
  GZIP: bounded(gunzipSync),
  ZSTD: bounded(zstdDecompressSync),
  BROTLI: bounded(brotliDecompressSync),
  SNAPPY: bytes => snappy.uncompressSync(Buffer.from(bytes), { asBuffer: true }) as Buffer,
  LZ4_RAW: (bytes, length) => {
    const prefixed = Buffer.allocUnsafe(4 + bytes.length)
    prefixed.writeUInt32LE(length, 0)
    prefixed.set(bytes, 4)
    return lz4.uncompressSync(prefixed)
  },
}
