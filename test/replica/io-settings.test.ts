import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadSettings } from '../../src/config/load.ts'
import { SETTING_KEYS } from '../../src/config/settings.ts'
import { connectionOptions } from '../../src/connection.ts'
import { connectionOfThread, settingsOfThread } from '../../src/replica/io-settings.ts'

function load(env: Record<string, string>) {
  const topics = { INPUT_TOPIC: 'in', OUTPUT_TOPIC: 'out', MODEL_NAME: 'iris' }
  const required = ['inputTopic', 'outputTopic', 'deadLetterTopic', 'modelName'] as const
  return loadSettings({ env: { ...topics, ...env }, required }).settings
}

test('what is a limit of the worker is divided among its threads, the rest is for all of them', () => {
  const worker = load({ IO_THREADS: '4' })
  const thread = settingsOfThread(worker)
  const changed = SETTING_KEYS.filter(key => thread[key] !== worker[key])
  const limits = SETTING_KEYS.filter(key => key.endsWith('Total'))
  assert.deepEqual(changed.sort(), [...limits, 'maxConcurrentCommits'].sort())
  assert.equal(4 * thread.maxInFlightBytesTotal, worker.maxInFlightBytesTotal)
  assert.equal(4 * thread.maxInFlightRecordsTotal, worker.maxInFlightRecordsTotal)
  assert.equal(thread.maxConcurrentCommits, 1)
})

test('a share is never less than the setting allows', () => {
  const thread = settingsOfThread(
    load({
      IO_THREADS: '64',
      MAX_BATCH_SIZE: '1',
      MAX_IN_FLIGHT_RECORDS: '1',
      MAX_IN_FLIGHT_RECORDS_TOTAL: '1',
      MAX_IN_FLIGHT_BYTES_TOTAL: '1024',
    }),
  )
  assert.deepEqual(
    [thread.maxInFlightRecordsTotal, thread.maxInFlightBytesTotal, thread.maxConcurrentCommits],
    [1, 1024, 1],
  )
})

test('each thread is a client of its own to the brokers', () => {
  const connection = connectionOptions(load({ KAFKA_CLIENT_ID: 'flowers', IO_THREADS: '2' }))
  const ids = [1, 2].map(thread => connectionOfThread(connection, thread).clientId)
  assert.deepEqual(ids, ['flowers-1', 'flowers-2'])
})
