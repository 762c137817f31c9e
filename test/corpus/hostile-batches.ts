import { crc32c } from '@node-rs/crc32'
import type { StoredBatch } from './corpus.ts'
import { bytes, type Content, long, parts, repeat } from './parts.ts'

/** What a batch header says; what is left out is the truth, or as a producer would write it. */
interface Header {
  readonly baseOffset?: bigint
  readonly length?: number
  readonly magic?: number
  readonly crc?: number
  readonly attributes?: number
  readonly lastOffsetDelta?: number
  readonly count?: number
}

const AFTER_LENGTH = 49

const flat = (content: Content) =>
  Buffer.concat(
    content.map(part =>
      part instanceof Uint8Array ? part : Buffer.alloc(part.bytes.length * part.times, Uint8Array.from(part.bytes)),
    ),
  )

/** A batch of magic 2 around `records`, which may be compressed. */
function batch(records: Content, header: Header = {}): Content {
  const body = flat(records)
  const head = Buffer.alloc(61)
  head.writeBigInt64BE(header.baseOffset ?? 0n, 0)
  head.writeInt32BE(header.length ?? AFTER_LENGTH + body.length, 8)
  head.writeInt8(header.magic ?? 2, 16)
  head.writeInt16BE(header.attributes ?? 0, 21)
  head.writeInt32BE(header.lastOffsetDelta ?? 0, 23)
  head.writeBigInt64BE(1_700_000_000_000n, 27)
  head.writeBigInt64BE(1_700_000_000_000n, 35)
  head.fill(0xff, 43, 57) // no producer
  head.writeInt32BE(header.count ?? 1, 57)
  const crc = header.crc ?? crc32c(Buffer.concat([head.subarray(21), body]))
  head.writeUInt32BE(crc, 17)
  return [head, ...records]
}

/** The fields of a record, in the order of the log. */
interface RecordFields {
  readonly length?: bigint
  readonly timestamp?: Content
  readonly delta?: bigint
  readonly key?: Content
  readonly value?: Content
  readonly headers?: Content
}

const VALUE: Content = [long(5n), Buffer.from('value')]

function record({
  length,
  timestamp = [long(0n)],
  delta = 0n,
  key = [long(-1n)],
  value = VALUE,
  headers = [long(0n)],
}: RecordFields = {}): Content {
  const body = flat([bytes(0), ...timestamp, long(delta), ...key, ...value, ...headers])
  return [long(length ?? BigInt(body.length)), body]
}

const GZIP = 1
const SNAPPY = 2
const LZ4 = 3
const ZSTD = 4

/** All hostile batches, in the order of the file: each is the whole answer of a broker for one partition. */
export function hostileBatches(): StoredBatch[] {
  const all: StoredBatch[] = []
  const add = (expected: StoredBatch['expected'], name: string, why: string, content: Content) =>
    all.push({ name, bytes: parts(content), expected, why })
  const good = flat(batch(record()))
  headers(add, good)
  records(add)
  compressed(add)
  for (let cut = 1; cut < good.length; cut += 3)
    add('corrupt-batch', `cut to ${cut}`, 'a part of a batch, alone', [good.subarray(0, cut)])
  const second = flat(batch(record(), { baseOffset: 1n }))
  for (let cut = 1; cut < second.length; cut += 7)
    add(1, `second cut to ${cut}`, 'brokers cut the last batch', [good, second.subarray(0, cut)])
  return all
}

type Add = (expected: StoredBatch['expected'], name: string, why: string, content: Content) => void

function headers(add: Add, good: Buffer): void {
  add(1, 'good', 'nothing is wrong with it', [good])
  for (const length of [-1, -(2 ** 31), 0, 4, 5, 8, 9, 48])
    add('corrupt-batch', `length ${length}`, 'less than a header', batch(record(), { length }))
  for (const length of [2 ** 31 - 1, 2 ** 30, 1_000])
    add('corrupt-batch', `length ${length}`, 'more than was sent', batch(record(), { length }))
  for (const magic of [0, 1, 3, -1])
    add('corrupt-batch', `magic ${magic}`, 'another format', batch(record(), { magic }))
  for (const crc of [0, 0xffff_ffff]) add('corrupt-batch', `CRC ${crc}`, 'damage', batch(record(), { crc }))
  for (const count of [-1, -(2 ** 31), 2, 1_000, 2 ** 31 - 1])
    add('corrupt-batch', `count ${count}`, 'not as many records as there are', batch(record(), { count }))
  add('corrupt-batch', 'count 0 with a record', 'bytes after the last record', batch(record(), { count: 0 }))
  add(0, 'no records', 'compaction leaves such', batch([], { count: 0, lastOffsetDelta: 3 }))
  for (const lastOffsetDelta of [-1, -(2 ** 31)])
    add(
      'corrupt-batch',
      `last offset delta ${lastOffsetDelta}`,
      'ends before it begins',
      batch(record(), { lastOffsetDelta }),
    )
  for (const baseOffset of [-1n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n])
    add('corrupt-batch', `base offset ${baseOffset}`, 'no offset that a partition has', batch(record(), { baseOffset }))
  for (const codec of [5, 6, 7])
    add('corrupt-batch', `codec ${codec}`, 'an unknown compression', batch(record(), { attributes: codec }))
  add(
    'corrupt-batch',
    'control record without a type',
    'neither commit nor abort',
    batch(record({ key: [long(2n), bytes(0, 0)] }), { attributes: 0x30 }),
  )
}

function records(add: Add): void {
  for (const length of [-1n, 0n, 1n, 7n, 100n, 2n ** 31n - 1n, -(2n ** 31n)])
    add('corrupt-batch', `record of ${length}`, 'a length that is not its own', batch(record({ length })))
  add(
    'corrupt-batch',
    'record length of 6 bytes',
    'a varint of more than 32 bits',
    batch([repeat([0xff], 5), bytes(1), ...record()]),
  )
  add(
    'corrupt-batch',
    'timestamp of 11 bytes',
    'a varlong of more than 64 bits',
    batch(record({ timestamp: [repeat([0xff], 10), bytes(1)] })),
  )
  add(1, 'timestamp of 2^63 - 1', 'larger than a number holds', batch(record({ timestamp: [long(2n ** 63n - 1n)] })))
  for (const delta of [1n, -1n, 2n ** 31n - 1n, -(2n ** 31n)])
    add('corrupt-batch', `offset delta ${delta}`, 'beyond the end of the batch', batch(record({ delta })))
  add(
    'corrupt-batch',
    'the same offset twice',
    'offsets must grow',
    batch([...record(), ...record()], { count: 2, lastOffsetDelta: 1 }),
  )
  for (const length of [6n, 100n, 2n ** 31n - 1n]) {
    add(
      'corrupt-batch',
      `value of ${length}`,
      'longer than its record',
      batch(record({ value: [long(length), Buffer.from('value')] })),
    )
    add('corrupt-batch', `key of ${length}`, 'longer than its record', batch(record({ key: [long(length)] })))
    add(
      'corrupt-batch',
      `header name of ${length}`,
      'longer than its record',
      batch(record({ headers: [long(1n), long(length)] })),
    )
    add('corrupt-batch', `${length} headers`, 'more than its record holds', batch(record({ headers: [long(length)] })))
  }
  add(
    'corrupt-batch',
    'header without a name',
    'a null name',
    batch(record({ headers: [long(1n), long(-1n), long(0n)] })),
  )
  add('corrupt-batch', 'fewer than no headers', 'a negative count', batch(record({ headers: [long(-1n)] })))
  add(1, 'value of -2', 'less than null is null, as for Java clients', batch(record({ value: [long(-2n)] })))
}

function compressed(add: Add): void {
  for (const [name, codec] of [
    ['gzip', GZIP],
    ['snappy', SNAPPY],
    ['lz4', LZ4],
    ['zstd', ZSTD],
  ] as const) {
    add(
      'corrupt-batch',
      `no ${name}`,
      'plain records that call themselves compressed',
      batch(record(), { attributes: codec }),
    )
    add('corrupt-batch', `empty ${name}`, 'nothing to inflate', batch([], { attributes: codec }))
  }
  // One block of 128 KiB in four bytes (RFC 8878, RLE_Block), ten thousand times: 1.3 GB in 40 kB.
  const frame = [bytes(0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38)]
  add(
    'corrupt-batch',
    'zstd bomb',
    'inflates to 1.3 GB',
    batch([...frame, repeat([0x02, 0x00, 0x10, 0x00], 10_000), bytes(0x03, 0x00, 0x00, 0x00)], { attributes: ZSTD }),
  )
  add(
    'corrupt-batch',
    'zstd of 2^60',
    'announces its size',
    batch([bytes(0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0)], { attributes: ZSTD }),
  )
  // LZ4 sequences whose match length goes on, 255 for each byte: sixteen blocks of 4 MB, in 16 kB each.
  const blocks = Array.from({ length: 16 }, () => lz4Block(16_000)).flat()
  const lz4Bomb = [bytes(0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73), ...blocks, bytes(0, 0, 0, 0)]
  add('corrupt-batch', 'lz4 bomb', 'inflates to 65 MB', batch(lz4Bomb, { attributes: LZ4 }))
  add(
    'corrupt-batch',
    'lz4 block of 2 GB',
    'a block beyond its frame',
    batch([bytes(0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 0xff, 0xff, 0xff, 0x7f)], { attributes: LZ4 }),
  )
  for (const announced of [
    [0xff, 0xff, 0xff, 0xff, 0x0f],
    [0xff, 0xff, 0xff, 0xff, 0x7f],
    [0xff, 0xff, 0xff, 0xff, 0xff],
  ]) {
    add(
      'corrupt-batch',
      `snappy of ${announced.map(byte => byte.toString(16)).join('')}`,
      'a block that announces gigabytes',
      batch([bytes(...announced, 0)], { attributes: SNAPPY }),
    )
  }
  const xerial = bytes(0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1)
  for (const length of [-1, 2 ** 31 - 1, 5]) {
    const block = Buffer.alloc(4)
    block.writeInt32BE(length)
    add(
      'corrupt-batch',
      `snappy block of ${length}`,
      'a block beyond its stream',
      batch([xerial, block], { attributes: SNAPPY }),
    )
  }
  add('corrupt-batch', 'gzip bomb', 'inflates to 41 MB', batch(gzipBomb(20_000), { attributes: GZIP }))
}

/** A literal, and a match that repeats it 255 times for each of `bytesOfLength`. */
function lz4Block(bytesOfLength: number): Content {
  const head = bytes(0x1f, 0x00, 0x01, 0x00)
  const size = Buffer.alloc(4)
  size.writeUInt32LE(head.length + bytesOfLength + 1)
  return [size, head, repeat([0xff], bytesOfLength), bytes(0x00)]
}

/**
 * One block of fixed codes (RFC 1951, 3.2.6): a literal 0, then matches of 258 bytes, 13 bits each. Eight of them are 13
 * bytes long, so the stream repeats itself; it has no end, which nobody reaches.
 */
function gzipBomb(times: number): Content {
  const bits = [1, 1, 0, ...'00110000', ...'1100010100000'.repeat(16)].map(Number)
  const stream = Array.from({ length: 15 }, (_, at) =>
    bits.slice(8 * at, 8 * at + 8).reduce((byte, bit, i) => byte | (bit << i), 0),
  )
  return [bytes(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, ...stream.slice(0, 2)), repeat(stream.slice(2), times)]
}
