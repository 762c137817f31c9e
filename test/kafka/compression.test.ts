import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import lz4 from 'lz4-napi'
import snappy from 'snappy'
import { CODECS, type Codec, compress, decompress } from '../../src/kafka/compression.ts'
import { lz4DecompressedSize } from '../../src/kafka/lz4-frame.ts'
import { MalformedBytesError } from '../../src/kafka/varint.ts'

const NO_LIMIT = 1 << 28
const TEXT = Buffer.from('feature row, feature row, another feature row. '.repeat(5_000))
const NOISE = Buffer.from(Array.from({ length: 70_000 }, (_, at) => (Math.imul(at, 2654435761) >>> 13) & 0xff))
const COMPRESSED = CODECS.filter(codec => codec !== 'none')

const int32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** The stream of snappy-java: a magic, version and lowest compatible version, then blocks after their lengths. */
function xerial(...blocks: Buffer[]): Buffer {
  const magic = Buffer.from('\x82SNAPPY\x00', 'latin1')
  return Buffer.concat([magic, int32(1), int32(1), ...blocks.flatMap(block => [int32(block.length), block])])
}

test('what is compressed is decompressed, by every codec', () => {
  for (const codec of CODECS) {
    for (const bytes of [TEXT, NOISE, Buffer.alloc(0), Buffer.from('x')]) {
      assert.deepEqual(decompress(codec, compress(codec, bytes), NO_LIMIT), bytes, codec)
    }
  }
})

test('none gives the bytes themselves', () => {
  assert.equal(decompress('none', TEXT, 1), TEXT)
  assert.equal(compress('none', TEXT), TEXT)
})

test('snappy is read as xerial stream of many blocks, and as a bare block', () => {
  const stream = xerial(snappy.compressSync(TEXT), snappy.compressSync(NOISE), snappy.compressSync(Buffer.alloc(0)))
  assert.deepEqual(decompress('snappy', stream, NO_LIMIT), Buffer.concat([TEXT, NOISE]))
  assert.deepEqual(decompress('snappy', snappy.compressSync(TEXT), NO_LIMIT), TEXT)
  assert.deepEqual(decompress('snappy', xerial(), NO_LIMIT), Buffer.alloc(0))
})

test('snappy is written as a xerial stream of blocks of 32 KiB, as Java does', () => {
  const stream = compress('snappy', TEXT)
  const first = snappy.compressSync(TEXT.subarray(0, 32 * 1024))
  assert.deepEqual(stream.subarray(0, 20 + first.length), xerial(first))
})

test('lz4 is read with checksums of blocks and content', () => {
  const frame = lz4.compressFrameSync(TEXT, { blockChecksums: true, contentChecksum: true })
  assert.deepEqual(decompress('lz4', frame, TEXT.length), TEXT)
})

test('the decompressed size is limited to the byte, by every codec', () => {
  for (const codec of COMPRESSED) {
    for (const bytes of [TEXT, NOISE]) {
      const compressed = compress(codec, bytes)
      assert.deepEqual(decompress(codec, compressed, bytes.length), bytes, codec)
      assert.throws(() => decompress(codec, compressed, bytes.length - 1), /more than \d+ bytes when decompressed/)
    }
  }
})

test('the size of an lz4 frame is bounded cheaply while that is enough, and exact otherwise', () => {
  const frame = lz4.compressFrameSync(TEXT)
  const cheap = lz4DecompressedSize(frame, NO_LIMIT)
  assert.ok(cheap >= TEXT.length)
  assert.equal(lz4DecompressedSize(frame, TEXT.length), TEXT.length)
  assert.equal(lz4DecompressedSize(lz4.compressFrameSync(NOISE), 1), NOISE.length)
})

test('bytes that are cut or of another codec are malformed, never a crash', () => {
  for (const codec of COMPRESSED) {
    const compressed = compress(codec, TEXT)
    const foreign = codec === 'gzip' ? zstdCompressSync(TEXT) : gzipSync(TEXT)
    const cuts = [0, 1, 5, 17, 22, compressed.length - 1].map(length => compressed.subarray(0, length))
    for (const bytes of [foreign, ...cuts]) refusesOrShort(codec, bytes)
  }
  assert.throws(() => decompress('snappy', xerial(TEXT).subarray(0, 40), NO_LIMIT), /longer than its stream/)
  assert.throws(() => decompress('snappy', Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]), NO_LIMIT), /no valid size/)
})

/** A cut between two blocks cannot be seen by the codec; the count of records tells then. */
function refusesOrShort(codec: Codec, bytes: Buffer): void {
  try {
    assert.ok(decompress(codec, bytes, NO_LIMIT).length < TEXT.length, `${codec} of ${bytes.length} bytes`)
  } catch (error) {
    assert.ok(error instanceof MalformedBytesError, `${codec} of ${bytes.length} bytes: ${error}`)
  }
}
