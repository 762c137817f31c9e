import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadSettings } from '../../src/config/load.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { Log } from '../../src/core/log.ts'
import { Health } from '../../src/ops/health.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { type ModelChoice, ModelServer } from '../../src/requests/model-server.ts'
import { copyVersions } from '../support/models.ts'

/** Serves until it is ready; what was opened, in order, and whether the API was ready and which models were right before. */
async function served(store: string, choices: readonly ModelChoice[]) {
  const opened: { name: string; ready: boolean; answering: string[] }[] = []
  const { settings } = loadSettings({ env: { MODEL_STORE: store, SESSIONS: 'cpu' } })
  const onLine = ({ model, version, size }: Record<string, unknown>) => {
    if (size === undefined) return
    const answering = ['iris-classifier', 'digits-mlp'].filter(answers)
    opened.push({ name: `${model}:${version}`, ready: server.desk.ready, answering })
  }
  const log: Log = { debug: () => {}, info: onLine, warn: () => {}, error: () => {}, child: () => log }
  const stop = new AbortController()
  const readyAtLast: boolean[] = []
  const onReady = (ready: boolean) => {
    if (!ready) return
    readyAtLast.push(server.desk.ready)
    stop.abort()
  }
  const health = new Health({ clock: systemClock, log, onReady })
  const metrics = new Metrics({ release: undefined, process: false })
  const server = new ModelServer(settings, { log, clock: systemClock, health, metrics })
  const answers = (name: string) => {
    try {
      server.desk.requireReady(name, undefined)
      return true
    } catch {
      return false
    }
  }
  await server.run(choices, stop.signal)
  assert.deepEqual(readyAtLast, [true])
  return opened
}

test('the API is ready once every model that was chosen is open; each answers before', async t => {
  const store = mkdtempSync(join(tmpdir(), 'sluice-server-'))
  t.after(() => rmSync(store, { recursive: true }))
  copyVersions(store, 'iris-classifier', ['9', '10'])
  copyVersions(store, 'digits-mlp', ['1'])
  const opened = await served(store, [
    { name: 'iris-classifier', version: undefined },
    { name: 'digits-mlp', version: undefined },
    { name: 'iris-classifier', version: '9' },
  ])
  assert.deepEqual(opened, [
    { name: 'iris-classifier:10', ready: false, answering: [] },
    { name: 'digits-mlp:1', ready: false, answering: ['iris-classifier'] },
    { name: 'iris-classifier:9', ready: false, answering: ['iris-classifier', 'digits-mlp'] },
  ])
})

test('a version that is chosen twice, by its number or without, is opened once', async t => {
  const store = mkdtempSync(join(tmpdir(), 'sluice-server-'))
  t.after(() => rmSync(store, { recursive: true }))
  copyVersions(store, 'iris-classifier', ['9', '10'])
  const name = 'iris-classifier'
  const versions = [undefined, '10', '9', undefined, '9']
  const opened = await served(
    store,
    versions.map(version => ({ name, version })),
  )
  assert.deepEqual(
    opened.map(each => each.name),
    ['iris-classifier:10', 'iris-classifier:9'],
  )
})
