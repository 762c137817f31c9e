import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { type S3Server, startS3 } from '../../dev/s3.ts'
import { FaultyLink } from '../models/faulty-link.ts'
import { goldenSamples, MODEL_STORE } from '../support/models.ts'
import { runSluice, startWorker, type WorkerProcess } from '../support/sluice-process.ts'
import { assertExits, assertWaits, temporaryFolder } from './support.ts'

/** Nobody listens there: the model is opened before a broker is asked. */
const NO_BROKER = '127.0.0.1:1'
const BUCKET = 'models'

let s3: S3Server

before(async () => {
  s3 = await startS3([BUCKET], { report: console.error })
  // By hand, without SHA256SUMS.
  cpSync(join(MODEL_STORE, 'iris-regressor'), join(s3.folderOf(BUCKET), 'live/iris-regressor'), { recursive: true })
})

after(() => s3.stop())

interface Place {
  readonly link: FaultyLink
  /** Working directory, in which the cache is. */
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
}

/** A link to the store, a folder to work in, and the settings of a worker that uses both. */
async function place(t: TestContext): Promise<Place> {
  const link = await FaultyLink.open(s3.endpoint)
  t.after(() => link.close())
  const cwd = temporaryFolder(t, 'bucket')
  const env = {
    KAFKA_BROKERS: NO_BROKER,
    INPUT_TOPIC: 'features',
    OUTPUT_TOPIC: 'predictions',
    MODEL_STORE: `s3://${BUCKET}/live`,
    MODEL_STORE_ENDPOINT: link.url,
    MODEL_STORE_TIMEOUT_MS: '5000',
    MODEL_NAME: 'iris-regressor',
    // Else a worker asks a broker what serves.
    MODEL_VERSION: '1',
    LOG_LEVEL: 'debug',
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    // Nothing of the machine that runs the tests.
    AWS_CONFIG_FILE: join(cwd, 'none'),
    AWS_SHARED_CREDENTIALS_FILE: join(cwd, 'none'),
    AWS_EC2_METADATA_DISABLED: 'true',
  }
  return { link, cwd, env }
}

function start(t: TestContext, { cwd, env }: Place, more: Readonly<Record<string, string>> = {}): WorkerProcess {
  const worker = startWorker({ cwd, env: { ...env, ...more } })
  t.after(() => worker.kill())
  return worker
}

const verified = (worker: WorkerProcess) =>
  worker.waitForLog(line => line.msg.startsWith('the model repeats its golden samples'))

describe('a model store in a bucket', { concurrency: 3 }, () => {
  it('that is away at the start is waited for; the worker goes on by itself', async t => {
    const here = await place(t)
    here.link.mode = 'away'
    const worker = start(t, here)
    await assertWaits(worker, 'store-unreachable', /the model store s3:\/\/models\/live does not answer: /)
    here.link.mode = 'open'
    await verified(worker)
    const over = await worker.waitForLog(line => line.condition === 'model-store' && line.level === 'info')
    assert.match(over.msg, /^over after .* does not answer/)
  })

  it('that is away does not keep a worker from stopping', async t => {
    const here = await place(t)
    here.link.mode = 'away'
    const worker = start(t, here)
    await assertWaits(worker, 'store-unreachable', /does not answer/)
    worker.child.kill('SIGTERM')
    assert.equal(await worker.exited, 0, worker.describe())
  })

  it('that is away does not matter to a worker with a cache', async t => {
    const here = await place(t)
    const sample = goldenSamples('iris-regressor')[0]!
    const predict = () => runSluice(['predict', '--json', JSON.stringify(sample.input)], here)
    const online = await predict()
    assert.equal(online.code, 0, online.stderr)
    here.link.mode = 'away'
    assert.deepEqual(await predict(), online)
    const worker = start(t, here)
    await verified(worker)
    const warning = worker.log.find(line => line.level === 'warn')!
    assert.match(warning.msg, /does not answer: .*the version in the cache is taken$/)
    assert.equal(warning.version, '1')
    const unpinned = start(t, here, { MODEL_VERSION: '' })
    await unpinned.waitForLog(({ level, msg }) => level === 'warn' && /taken, the highest there/.test(msg))
    rmSync(join(here.cwd, '.cache'), { recursive: true })
    const without = await predict()
    assert.equal(without.code, 1)
    assert.match(without.stderr, /does not answer/)
  })

  it('that refuses ends the worker', async t => {
    const here = await place(t)
    const wrong = start(t, here, { AWS_SECRET_ACCESS_KEY: 'wrong' })
    await assertExits(wrong, 1, 'store-refused', /s3:\/\/models\/live refuses: SignatureDoesNotMatch/)
    const nowhere = start(t, here, { MODEL_STORE: 's3://nowhere' })
    await assertExits(nowhere, 1, 'store-refused', /s3:\/\/nowhere refuses: NoSuchBucket/)
    const nobody = start(t, here, { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' })
    await assertExits(nobody, 1, 'store-refused', /refuses: no credentials were found/)
  })

  it('leaves no secret in logs and settings', async t => {
    const here = await place(t)
    const token = 'a-session-token-of-the-test'
    const secrets = { AWS_SESSION_TOKEN: token }
    const worker = start(t, here, secrets)
    await verified(worker)
    here.link.mode = 'away'
    const waiting = start(t, here, { ...secrets, MODEL_CACHE_DIR: 'empty' })
    await assertWaits(waiting, 'store-unreachable', /does not answer/)
    const env = { ...here.env, ...secrets }
    const config = await runSluice(['config'], { ...here, env })
    const mistaken = await runSluice(['config'], { ...here, env: { ...env, MODEL_STORE: `s3://me:${token}@models` } })
    assert.equal(mistaken.code, 2)
    const said = [worker.log, waiting.log, config, mistaken].map(part => JSON.stringify(part)).join('\n')
    assert.match(said, /s3:\/\/models\/live/)
    for (const secret of [s3.secretAccessKey, token]) assert.ok(!said.includes(secret), secret)
  })
})
