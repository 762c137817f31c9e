import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, beforeEach, describe, it, type TestContext } from 'node:test'
import { type S3Server, startS3 } from '../../dev/s3.ts'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import { type Log, silentLog } from '../../src/core/log.ts'
import { Bucket } from '../../src/models/bucket.ts'
import { BucketAdd } from '../../src/models/bucket-add.ts'
import { type ModelBundle, readBundle } from '../../src/models/bundle.ts'
import { sha256Of } from '../../src/models/checksums.ts'
import { openStore } from '../../src/models/open-store.ts'
import type { ModelStore } from '../../src/models/store.ts'
import { manifest, temporaryStore, writeBundle } from './bundle-folder.ts'
import { FaultyLink } from './faulty-link.ts'

const BUCKET = 'models'
const HOUR = 60 * 60_000

let s3: S3Server
let link: FaultyLink
/** A part of the bucket for each test. */
let prefix: string
let tests = 0

before(async () => {
  s3 = await startS3([BUCKET], { report: console.error })
  link = await FaultyLink.open(s3.endpoint)
  process.env.AWS_ACCESS_KEY_ID = s3.accessKeyId
  process.env.AWS_SECRET_ACCESS_KEY = s3.secretAccessKey
})

after(async () => {
  await link.close()
  await s3.stop()
})

beforeEach(() => {
  link.mode = 'open'
  link.cutAfter(undefined)
  prefix = `test-${++tests}`
})

/** Pauses take no time. */
const hurried: Clock = { ...systemClock, sleep: async () => {} }

function storeAt(cache: string, { log = silentLog, clock = hurried, timeoutMs = 5_000 } = {}): ModelStore {
  const settings = {
    modelStore: `s3://${BUCKET}/${prefix}`,
    modelStoreEndpoint: link.url,
    modelStoreTimeoutMs: timeoutMs,
    modelCacheDir: cache,
  }
  return openStore(settings, { log, clock })
}

/** A bundle whose model.onnx is `content`. */
async function makeBundle(
  t: TestContext,
  version: string,
  content: Buffer,
  files: Readonly<Record<string, string>> = {},
): Promise<ModelBundle> {
  const sha256 = createHash('sha256').update(content).digest('hex')
  const folder = await writeBundle(await temporaryStore(t), 'shop', version, {
    'model.json': { ...manifest('shop', version), sha256 },
    'model.onnx': undefined,
  })
  for (const [path, text] of Object.entries({ ...files, 'model.onnx': content })) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  return readBundle(folder)
}

/** Every file of a bundle but the checksums that stores add: its bytes in hex, by path. */
async function contentOf({ directory }: ModelBundle): Promise<Record<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile() && entry.name !== 'SHA256SUMS')
  const paths = files.map(({ parentPath, name }) => join(parentPath, name).slice(directory.length + 1)).sort()
  const contents = await Promise.all(paths.map(path => readFile(join(directory, path), 'hex')))
  return Object.fromEntries(paths.map((path, index) => [path, contents[index]!]))
}

/** What the cache has under hashes: the names that do not fit their content. */
async function wrongBlobs(cache: string): Promise<string[]> {
  const names = await readdir(join(cache, 'blobs')).catch(() => [])
  const hashes = await Promise.all(names.map(async name => sha256(await readFile(join(cache, 'blobs', name)))))
  return names.filter((name, index) => name !== hashes[index])
}

const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex')

/** The log lines of one level. */
function listening(): { log: Log; warnings: string[] } {
  const warnings: string[] = []
  const log: Log = { ...silentLog, warn: (_, message) => warnings.push(message), child: () => log }
  return { log, warnings }
}

describe('a store in a bucket', () => {
  it('gives back what it took, byte for byte', async t => {
    const cache = await temporaryStore(t)
    const files = { 'weights/layer 1.bin': 'far from the graph', 'baseline.json': '{}' }
    const bundle = await makeBundle(t, '1', randomBytes(300_000), files)
    await storeAt(cache).add(bundle)
    const found = await storeAt(cache).find('shop', '1')
    assert.deepEqual(await contentOf(found), await contentOf(bundle))
    assert.deepEqual(Object.keys(await contentOf(found)), [
      'baseline.json',
      'golden.jsonl',
      'model.json',
      'model.onnx',
      'weights/layer 1.bin',
    ])
    assert.equal((await found.golden()).length, 1)
    const objects = await readdir(join(s3.folderOf(BUCKET), prefix, 'shop', '1'))
    const expected = ['SHA256SUMS', 'baseline.json', 'golden.jsonl', 'model.json', 'model.onnx', 'weights']
    assert.deepEqual(objects.sort(), expected)
    await assert.rejects(storeAt(cache).add(bundle), { code: 'model-exists', message: /"shop" has a version "1"/ })
  })

  it('lists 1200 versions, over several pages, and finds the highest', async t => {
    const folder = join(s3.folderOf(BUCKET), prefix)
    await writeBundle(folder, 'shop', '1200')
    for (let version = 1; version < 1200; version++) {
      await mkdir(join(folder, 'shop', String(version)))
      await writeFile(join(folder, 'shop', String(version), 'model.json'), '{}')
    }
    await mkdir(join(folder, 'shop', '1201'), { recursive: true })
    await writeFile(join(folder, 'shop', '1201', 'model.onnx'), 'without a model.json it is no version')
    const store = storeAt(await temporaryStore(t))
    const [shop, ...others] = await store.list()
    assert.deepEqual(others, [])
    assert.equal(shop!.name, 'shop')
    assert.deepEqual(
      shop!.versions,
      Array.from({ length: 1200 }, (_, index) => String(index + 1)),
    )
    assert.equal((await store.find('shop')).spec.version, '1200')
  })

  it('reads bundles that were copied by hand, and says what it has when one is missing', async t => {
    const folder = join(s3.folderOf(BUCKET), prefix)
    const store = storeAt(await temporaryStore(t))
    const missing = (message: string) => ({ code: 'model-missing', message })
    const name = `s3://${BUCKET}/${prefix}`
    await assert.rejects(store.find('shop'), missing(`the model store ${name} has no model "shop"; it is empty`))
    const copied = await readBundle(await writeBundle(folder, 'shop', '9', { 'extra.txt': 'x' }))
    assert.deepEqual(await contentOf(await store.find('shop')), await contentOf(copied))
    await assert.rejects(store.find('shop', '8'), missing(`model "shop" has no version "8" in ${name}; it has 9`))
    await assert.rejects(store.find('../shop', '9'), { code: 'model-missing' })
    await assert.rejects(store.find('shop', '../shop/9'), { code: 'model-missing' })
  })

  it('refuses files that lead out of the bundle', async t => {
    const folder = join(s3.folderOf(BUCKET), prefix)
    for (const [index, path] of ['../../../escaped', '/etc/escaped', 'a/../../escaped', 'a\\b'].entries()) {
      const sums = `${'0'.repeat(64)}  ${path}\n`
      await writeBundle(folder, 'shop', String(index), { SHA256SUMS: sums })
      await assert.rejects(storeAt(await temporaryStore(t)).find('shop', String(index)), {
        code: 'model-corrupt',
        message: /SHA256SUMS, line 1 is .*expected 64 hex digits, two spaces, and a path within the bundle/,
      })
    }
  })

  it('refuses a model that is not what its bundle says', async t => {
    const folder = join(s3.folderOf(BUCKET), prefix)
    const cache = await temporaryStore(t)
    await writeBundle(folder, 'shop', '1', { 'model.onnx': 'the bytes of another' })
    const message = /shop\/1\/model\.onnx has the SHA-256 [0-9a-f]{64}, but model\.json says [0-9a-f]{64}/
    await assert.rejects(storeAt(cache).find('shop', '1'), { code: 'model-corrupt', message })
    await rm(join(folder, 'shop', '1', 'model.onnx'))
    await assert.rejects(storeAt(cache).find('shop', '1'), { code: 'model-corrupt', message: /onnx is missing/ })
  })

  it('refuses samples that are not those that were added', async t => {
    await storeAt(await temporaryStore(t)).add(await makeBundle(t, '1', randomBytes(1_000)))
    await writeFile(join(s3.folderOf(BUCKET), prefix, 'shop', '1', 'golden.jsonl'), '')
    const message = /shop\/1\/golden\.jsonl has the SHA-256 [0-9a-f]{64}, but SHA256SUMS says [0-9a-f]{64}/
    await assert.rejects(storeAt(await temporaryStore(t)).find('shop', '1'), { code: 'model-corrupt', message })
  })

  it('lets one of two adds of a version win, and mixes nothing', async t => {
    for (let round = 1; round <= 6; round++) {
      const version = String(round)
      // Of the same graph, with other samples: what is mixed would be a bundle that reads well.
      const graph = randomBytes(20_000)
      const bundles = [
        await makeBundle(t, version, graph, { 'a.txt': 'first', 'b.txt': 'first' }),
        await makeBundle(t, version, graph, { 'a.txt': 'second', 'b.txt': 'second', 'c.txt': 'second' }),
      ]
      const store = storeAt(await temporaryStore(t))
      const ends = await Promise.allSettled(bundles.map(bundle => store.add(bundle)))
      const winners = bundles.filter((_, index) => ends[index]!.status === 'fulfilled')
      assert.equal(winners.length, 1, `round ${round}: one add wins`)
      const loser = ends.find(end => end.status === 'rejected')!
      assert.equal(loser.reason.code, 'model-exists', loser.reason.message)
      assert.deepEqual(await contentOf(await store.find('shop', version)), await contentOf(winners[0]!))
    }
  })

  it('keeps a claim that a listing lacks', async t => {
    const [first, second] = [
      await makeBundle(t, '1', randomBytes(3_000_000)),
      await makeBundle(t, '1', randomBytes(1_000)),
    ]
    const store = storeAt(await temporaryStore(t))
    link.cutAfter({ direction: 'up', afterBytes: 1_000_000, times: Number.POSITIVE_INFINITY })
    await assert.rejects(store.add(first), { code: 'store-unreachable' })
    link.cutAfter(undefined)
    // S3Proxy ends a listing where it meets a file that was renamed since: what comes behind it is missing.
    const options = { bucket: BUCKET, prefix, endpoint: link.url, timeoutMs: 5_000, clock: hurried }
    const blind = Object.assign(new Bucket(options), { list: async () => [] })
    await assert.rejects(new BucketAdd(blind, second, Date.now).run(), { code: 'model-exists' })
    await store.add(first)
    assert.deepEqual(await contentOf(await store.find('shop', '1')), await contentOf(first))
  })

  it('lets one of several adds of the very same bundle win', async t => {
    const bundle = await makeBundle(t, '1', randomBytes(20_000))
    const store = storeAt(await temporaryStore(t))
    const ends = await Promise.allSettled([1, 2, 3, 4].map(() => store.add(bundle)))
    assert.equal(ends.filter(end => end.status === 'fulfilled').length, 1)
    for (const end of ends) if (end.status === 'rejected') assert.equal(end.reason.code, 'model-exists')
    assert.deepEqual(await contentOf(await store.find('shop', '1')), await contentOf(bundle))
  })

  it('wins also when the answer to the last put is lost', async t => {
    const bundle = await makeBundle(t, '1', randomBytes(1_000))
    const store = storeAt(await temporaryStore(t))
    link.loseAnswerTo(`PUT /${BUCKET}/${prefix}/shop/1/model.json`)
    await store.add(bundle)
    assert.equal((await store.find('shop')).spec.version, '1')
    await assert.rejects(store.add(bundle), { code: 'model-exists' })
  })

  it('has no version after an add that was cut off, and takes it from there', async t => {
    const store = storeAt(await temporaryStore(t))
    const bundle = await makeBundle(t, '1', randomBytes(3_000_000))
    link.cutAfter({ direction: 'up', afterBytes: 1_000_000, times: Number.POSITIVE_INFINITY })
    await assert.rejects(store.add(bundle), { code: 'store-unreachable' })
    assert.ok(link.cuts > 1, 'it tried again')
    link.cutAfter(undefined)
    assert.deepEqual(await store.list(), [])
    await assert.rejects(store.find('shop', '1'), { code: 'model-missing' })
    await store.add(bundle)
    assert.deepEqual(await contentOf(await store.find('shop', '1')), await contentOf(bundle))
  })

  it('gives what is left of an add that was cut off to another bundle, once it is surely dead', async t => {
    const cache = await temporaryStore(t)
    const [cutOff, other] = [
      await makeBundle(t, '1', randomBytes(3_000_000), { 'a.txt': 'of the first' }),
      await makeBundle(t, '1', randomBytes(10_000)),
    ]
    link.cutAfter({ direction: 'up', afterBytes: 1_000_000, times: Number.POSITIVE_INFINITY })
    await assert.rejects(storeAt(cache).add(cutOff), { code: 'store-unreachable' })
    link.cutAfter(undefined)
    await assert.rejects(storeAt(cache).add(other), {
      code: 'model-exists',
      message: /another bundle is being added as version "1" .* or was until its add was cut off/,
    })
    const later: Clock = { ...hurried, wallTime: () => Date.now() + HOUR + 60_000 }
    await storeAt(cache, { clock: later }).add(other)
    assert.deepEqual(await contentOf(await storeAt(cache).find('shop', '1')), await contentOf(other))
    await assert.rejects(storeAt(cache).add(cutOff), { code: 'model-exists' })
  })

  it('says no for good when bucket or credentials are wrong, also with a full cache', async t => {
    const cache = await temporaryStore(t)
    await storeAt(cache).add(await makeBundle(t, '1', randomBytes(1_000)))
    await storeAt(cache).find('shop', '1')
    const refused = (message: RegExp) => ({ code: 'store-refused', response: 'exit', message })
    process.env.AWS_SECRET_ACCESS_KEY = 'a-secret-that-is-wrong'
    t.after(() => {
      process.env.AWS_SECRET_ACCESS_KEY = s3.secretAccessKey
    })
    await assert.rejects(storeAt(cache).find('shop', '1'), refused(/refuses: SignatureDoesNotMatch.*403/))
    process.env.AWS_SECRET_ACCESS_KEY = s3.secretAccessKey
    const settings = { modelStore: 's3://nowhere', modelStoreEndpoint: s3.endpoint, modelStoreTimeoutMs: 5_000 }
    const nowhere = openStore({ ...settings, modelCacheDir: cache }, { log: silentLog, clock: hurried })
    await assert.rejects(nowhere.find('shop', '1'), refused(/s3:\/\/nowhere refuses: NoSuchBucket/))
    await assert.rejects(nowhere.list(), refused(/NoSuchBucket/))
  })
})

describe('the cache of a store in a bucket', () => {
  it('downloads again what was cut off, and never has half of it', async t => {
    const cache = await temporaryStore(t)
    const bundle = await makeBundle(t, '1', randomBytes(3_000_000))
    await storeAt(cache).add(bundle)
    link.cutAfter({ direction: 'down', afterBytes: 1_000_000, times: Number.POSITIVE_INFINITY })
    await assert.rejects(storeAt(cache).find('shop', '1'), { code: 'store-unreachable' })
    assert.ok(link.cuts > 1, 'it tried again')
    const golden = await sha256Of(join(bundle.directory, 'golden.jsonl'))
    assert.deepEqual(await readdir(join(cache, 'blobs')), [golden], 'nothing of the model is left')
    link.cutAfter({ direction: 'down', afterBytes: 1_000_000, times: 2 })
    const found = await storeAt(cache).find('shop', '1')
    assert.equal(link.cuts, 2)
    assert.deepEqual(await contentOf(found), await contentOf(bundle))
    assert.deepEqual(await wrongBlobs(cache), [])
  })

  it('downloads content once, and again when it was damaged', async t => {
    const cache = await temporaryStore(t)
    const bundle = await makeBundle(t, '1', randomBytes(3_000_000))
    await storeAt(cache).add(bundle)
    const { directory } = await storeAt(cache).find('shop', '1')
    link.cutAfter({ direction: 'down', afterBytes: 100_000, times: 1 })
    await storeAt(cache).find('shop', '1')
    assert.equal(link.cuts, 0, 'the second time nothing of size travels')
    for (const file of ['model.onnx', 'golden.jsonl']) {
      await writeFile(join(directory, file), 'damaged')
      assert.deepEqual(await contentOf(await storeAt(cache).find('shop', '1')), await contentOf(bundle), file)
      assert.deepEqual(await wrongBlobs(cache), [])
    }
  })

  it('is shared by several workers at once', async t => {
    const cache = await temporaryStore(t)
    const bundle = await makeBundle(t, '1', randomBytes(2_000_000))
    await storeAt(cache).add(bundle)
    const expected = await contentOf(bundle)
    const finds = Array.from({ length: 6 }, () => storeAt(cache).find('shop'))
    for (const found of await Promise.all(finds)) assert.deepEqual(await contentOf(found), expected)
    assert.deepEqual(await wrongBlobs(cache), [])
  })

  it('stands in for a store that is away, with a warning', async t => {
    const cache = await temporaryStore(t)
    for (const version of ['9', '10', '11']) await storeAt(cache).add(await makeBundle(t, version, randomBytes(1_000)))
    for (const version of ['9', '10']) await storeAt(cache).find('shop', version)
    const { log, warnings } = listening()
    const store = storeAt(cache, { log })
    link.mode = 'away'
    assert.equal((await store.find('shop', '9')).spec.version, '9')
    assert.match(warnings.pop()!, /does not answer: .*; the version in the cache is taken$/)
    assert.equal(await store.highest('shop'), '10')
    assert.equal((await store.find('shop')).spec.version, '10')
    assert.equal(warnings.length, 2)
    assert.equal(warnings.shift(), warnings[0])
    assert.match(warnings.pop()!, /the highest there: the store may have a higher one$/)
    const away = { code: 'store-unreachable', response: 'retry', message: /the model store s3:\/\/.* does not answer/ }
    await assert.rejects(store.find('shop', '11'), away)
    await assert.rejects(store.find('other'), away)
    await assert.rejects(store.highest('other'), away)
    await assert.rejects(storeAt(await temporaryStore(t)).find('shop', '9'), away)
    link.mode = 'open'
    assert.equal(await store.highest('shop'), '11')
    assert.equal((await store.find('shop')).spec.version, '11')
    assert.deepEqual(warnings, [])
  })

  it('does not stand in with what was damaged', async t => {
    const cache = await temporaryStore(t)
    await storeAt(cache).add(await makeBundle(t, '1', randomBytes(1_000)))
    const { directory } = await storeAt(cache).find('shop', '1')
    link.mode = 'away'
    await writeFile(join(directory, 'golden.jsonl'), '')
    const message = /does not answer: .*; and what the cache has cannot serve: .*golden\.jsonl has the SHA-256/
    await assert.rejects(storeAt(cache).find('shop', '1'), { code: 'store-unreachable', message })
  })

  it('takes a store that says nothing for one that is away, in time', async t => {
    const cache = await temporaryStore(t)
    await storeAt(cache).add(await makeBundle(t, '1', randomBytes(1_000)))
    await storeAt(cache).find('shop', '1')
    link.mode = 'silent'
    const { log, warnings } = listening()
    assert.equal((await storeAt(cache, { log, timeoutMs: 300 }).find('shop')).spec.version, '1')
    assert.match(warnings[0]!, /does not answer/)
  })

  it('does not hide that a version was removed from the store, nor that another came in its place', async t => {
    const cache = await temporaryStore(t)
    await storeAt(cache).add(await makeBundle(t, '1', randomBytes(1_000)))
    await storeAt(cache).find('shop', '1')
    await rm(join(s3.folderOf(BUCKET), prefix, 'shop'), { recursive: true })
    await assert.rejects(storeAt(cache).find('shop', '1'), { code: 'model-missing' })
    const other = await makeBundle(t, '1', randomBytes(1_000))
    await storeAt(cache).add(other)
    assert.deepEqual(await contentOf(await storeAt(cache).find('shop', '1')), await contentOf(other))
  })

  it('cannot be written: says which folder', async t => {
    const file = join(await temporaryStore(t), 'file')
    await writeFile(file, '')
    await storeAt(file).add(await makeBundle(t, '1', randomBytes(1_000)))
    const message = /^MODEL_CACHE_DIR, .*file, cannot be written: E/
    await assert.rejects(storeAt(file).find('shop', '1'), { code: 'invalid-config', message })
  })

  it('is not swept of what is being written, only of what a crash left long ago', async t => {
    const cache = await temporaryStore(t)
    await storeAt(cache).add(await makeBundle(t, '1', randomBytes(1_000)))
    await mkdir(join(cache, 'blobs'))
    const left = join(cache, 'blobs', '.incoming-1')
    await writeFile(left, 'half')
    await storeAt(cache).find('shop', '1')
    await stat(left)
    await storeAt(cache, { clock: { ...hurried, wallTime: () => Date.now() + 25 * HOUR } }).find('shop', '1')
    await assert.rejects(stat(left), { code: 'ENOENT' })
  })
})
