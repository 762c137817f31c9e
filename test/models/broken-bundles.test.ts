import assert from 'node:assert/strict'
import { chmod } from 'node:fs/promises'
import { describe, it, type TestContext } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import type { SluiceError } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import { FolderStore } from '../../src/models/store.ts'
import { openModel } from '../../src/serving/serving.ts'
import { checkModel } from '../../src/shipping/model-check.ts'
import { Openings } from '../inference/openings.ts'
import { BROKEN, goodBundle } from './broken-bundles.ts'
import { temporaryStore } from './bundle-folder.ts'

/** Runs `work` as a user to whom file permissions apply. */
async function asNobody(work: () => Promise<void>): Promise<void> {
  if (process.geteuid!() !== 0) return work()
  process.seteuid!(65_534)
  try {
    await work()
  } finally {
    process.seteuid!(0)
  }
}

/** The version that is broken; 1 is in order. */
const VERSION = '2'

/** Threads that hang are left behind at once instead of after five seconds. */
const impatient = { ...systemClock, sleep: async () => {} }

async function prepare(t: TestContext) {
  const store = await temporaryStore(t)
  await chmod(store, 0o755)
  await goodBundle(store, '1')
  const bundle = await goodBundle(store, VERSION)
  const openings = new Openings()
  t.after(() => openings.release())
  return { store, bundle, openings }
}

const settings = {
  modelName: 'sums',
  sessions: 'cpu',
  intraOpThreads: 1,
  runTimeoutMs: 60_000,
  maxBatchSize: 16,
  inputFormat: 'json',
  inputSchema: undefined,
  inputTopic: undefined,
  schemaRegistryUrl: undefined,
  schemaRegistryUsername: undefined,
  schemaRegistryPassword: undefined,
  schemaDir: 'schemas',
  schemaDirGiven: false,
  requestTimeoutMs: 1_000,
  maxRecordBytes: 1_000,
  allowNonFinite: false,
  modelStoreTimeoutMs: 1_000,
  modelCacheDir: '.cache/models',
} as const

describe('a broken bundle', { timeout: 60_000 }, () => {
  const said = new Map<string, string>()

  it('is none while nothing is wrong', async t => {
    const { store } = await prepare(t)
    const tools = { log: silentLog, clock: systemClock, openTimeoutMs: 60_000 }
    const report = await checkModel(() => new FolderStore(store).find('sums'), settings, tools)
    assert.equal(report.failure, undefined)
    assert.deepEqual(
      report.checks.map(({ outcome }) => outcome),
      ['passed', 'passed', 'skipped', 'passed'],
    )
    const model = await openModel({ ...settings, modelStore: store, modelVersion: VERSION }, tools)
    await model.close()
  })

  for (const { what, damage, check, code, message } of BROKEN) {
    it(`is refused by verification and by whoever would serve it: ${what}`, async t => {
      const { store, bundle, openings } = await prepare(t)
      await damage(bundle)
      const hangs = what === 'opening never ends'
      // Here it hangs for ever, and costs nothing.
      const begin = () => openings.next({ hang: hangs ? 1 : 0 })
      const tools = { log: silentLog, clock: hangs ? impatient : systemClock, openTimeoutMs: hangs ? 500 : 60_000 }
      const { threadUrl } = openings
      const find = () => new FolderStore(store).find('sums', VERSION)

      const verifies = async () => {
        const report = await checkModel(find, settings, { ...tools, threadUrl })
        const failed = report.checks.filter(({ outcome }) => outcome === 'failed')
        assert.deepEqual(
          failed.map(each => [each.check, each.code]),
          [[check, code]],
        )
        assert.match(failed[0]!.message, message)
        assert.equal(report.failure?.code, code)
        const told = report.failure!.message.replaceAll(store, '')
        assert.equal(said.get(told), undefined, 'each kind is told in words of its own')
        said.set(told, what)
      }
      const serves = async () => {
        const opening = openModel({ ...settings, modelStore: store, modelVersion: VERSION }, { ...tools, threadUrl })
        await assert.rejects(opening, (error: SluiceError) => {
          assert.equal(error.code, code)
          assert.match(error.message, message)
          assert.equal(error.response, 'exit')
          return true
        })
      }
      const run = what.includes('may not be read') ? asNobody : (work: () => Promise<void>) => work()
      try {
        begin()
        await run(verifies)
        begin()
        await run(serves)
      } finally {
        await chmod(bundle.directory, 0o755)
      }
    })
  }
})
