// Memory and time that a large model takes on its way into a bucket and back:
//
//   node dev/large-model.ts [MIB]
//
// Adds a bundle with a model.onnx of so many MiB (512) to a real S3 server on this machine, finds it again with an empty
// cache, and prints by how much this process grew meanwhile. It fails when that is more than an eighth of the model.

import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { systemClock as clock } from '../src/core/clock.ts'
import { silentLog as log } from '../src/core/log.ts'
import { readBundle } from '../src/models/bundle.ts'
import { openStore } from '../src/models/open-store.ts'
import { startS3 } from './s3.ts'

const MIB = 2 ** 20
const BUCKET = 'models'

async function main(mib: number): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-large-'))
  const s3 = await startS3([BUCKET], { report: console.error })
  process.env.AWS_ACCESS_KEY_ID = s3.accessKeyId
  process.env.AWS_SECRET_ACCESS_KEY = s3.secretAccessKey
  const settings = { modelStore: `s3://${BUCKET}`, modelStoreEndpoint: s3.endpoint, modelStoreTimeoutMs: 10_000 }
  const store = openStore({ ...settings, modelCacheDir: join(folder, 'cache') }, { log, clock })
  try {
    // A small one first: what loading the SDK takes is not the model's.
    await store.add(await readBundle(await write(folder, '1', 1)))
    await store.find('large', '1')
    const bundle = await readBundle(await write(folder, '2', mib))
    const added = await grown(`add ${mib} MiB`, () => store.add(bundle))
    const found = await grown(`find ${mib} MiB`, () => store.find('large', '2'))
    return Math.max(added, found) <= mib / 8
  } finally {
    await s3.stop()
    await rm(folder, { recursive: true })
  }
}

/** Writes a bundle that nothing could load; returns its folder. */
async function write(root: string, version: string, mib: number): Promise<string> {
  const directory = join(root, 'large', version)
  await mkdir(directory, { recursive: true })
  const piece = randomBytes(MIB)
  const hash = createHash('sha256')
  const pieces = (function* () {
    for (let count = 0; count < mib; count++) {
      hash.update(piece)
      yield piece
    }
  })()
  await pipeline(Readable.from(pieces), createWriteStream(join(directory, 'model.onnx')))
  const tensor = { tensor: 'x', type: 'float32', shape: [null, 1] }
  const manifest = {
    format: 1,
    name: 'large',
    version,
    sha256: hash.digest('hex'),
    inputs: [{ ...tensor, features: [{ name: 'x' }] }],
    outputs: [{ ...tensor, field: 'y' }],
    tolerance: { absolute: 0, relative: 0 },
  }
  await writeFile(join(directory, 'model.json'), JSON.stringify(manifest))
  return directory
}

/** By how many MiB the process grew at most during `work`. */
async function grown(name: string, work: () => Promise<unknown>): Promise<number> {
  const before = process.memoryUsage.rss()
  let most = before
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss())
  }, 5)
  const begun = performance.now()
  await work()
  clearInterval(timer)
  const mib = Math.round((most - before) / MIB)
  console.log(`${name}: ${Math.round(performance.now() - begun)} ms, ${Math.round(before / MIB)} MiB + ${mib} MiB`)
  return mib
}

process.exitCode = (await main(Number(process.argv[2] ?? 512))) ? 0 : 1
