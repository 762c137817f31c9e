import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Partitioners } from 'kafkajs'
import { ERRORS, type ErrorCode } from '../../src/core/errors.ts'
import type { HealthReport } from '../../src/ops/health.ts'
import { kafka, until } from '../support/broker.ts'
import { headerText, type LogRecord } from '../support/record-log.ts'
import type { LogLine, WorkerProcess } from '../support/sluice-process.ts'

/** What a test can hand its clean-up to. */
export type Scope = Pick<TestContext, 'after'>

/** A folder that goes with the test. */
export function temporaryFolder(t: Scope, purpose: string): string {
  const folder = mkdtempSync(join(tmpdir(), `sluice-${purpose}-`))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A SCHEMA_DIR that has these schemas, by id; a string is written as it is, be it JSON or not. */
export function schemaFolder(t: Scope, schemas: Readonly<Record<number, unknown>>): string {
  const folder = temporaryFolder(t, 'schemas')
  for (const [id, schema] of Object.entries(schemas)) {
    writeFileSync(join(folder, `${id}.avsc`), typeof schema === 'string' ? schema : JSON.stringify(schema))
  }
  const ids = Object.fromEntries(Object.keys(schemas).map(id => [id, `${id}.avsc`]))
  writeFileSync(join(folder, 'ids.json'), JSON.stringify(ids))
  return folder
}

/** What a health page answers. */
export async function health(worker: WorkerProcess, kind: 'live' | 'ready') {
  const response = await fetch(await worker.url(`/health/${kind}`))
  return { status: response.status, body: (await response.json()) as HealthReport }
}

/** Whether a line is the one with which a condition begins, for people to read. */
const begins = (code: ErrorCode) => (line: LogLine) =>
  line.level === 'warn' && line.code === code && line.condition !== undefined

/**
 * Expects a worker that waits for the world around it: it says so once, in words that match `message`, with the remedy
 * of the table; it is alive, and not ready for that reason.
 */
export async function assertWaits(worker: WorkerProcess, code: ErrorCode, message: RegExp): Promise<void> {
  const line = await worker.waitForLog(line => begins(code)(line) && message.test(line.msg))
  assert.equal(line.remedy, ERRORS[code].remedy)
  await until(
    async () => (await health(worker, 'ready')).body.reasons.some(reason => reason.code === code),
    () => `/health/ready does not give the reason ${code}. ${worker.describe()}`,
  )
  const ready = await health(worker, 'ready')
  assert.equal(ready.status, 503)
  const reason = ready.body.reasons.find(each => each.code === code)
  assert.ok(reason, `/health/ready gave ${code} as a reason and then no more: ${JSON.stringify(ready.body)}`)
  assert.match(reason.message, message)
  assert.equal(reason.remedy, ERRORS[code].remedy)
  assert.equal((await health(worker, 'live')).status, 200)
}

/** Expects a worker that ends by itself: with this exit code, and one last line that says why. */
export async function assertExits(
  worker: WorkerProcess,
  exitCode: number,
  code: ErrorCode,
  message: RegExp,
): Promise<void> {
  assert.equal(await worker.exited, exitCode, worker.describe())
  const errors = worker.log.filter(({ level }) => level === 'error')
  assert.deepEqual(
    errors.map(line => line.code),
    [code],
    worker.describe(),
  )
  assert.match(errors[0]!.msg, message)
  assert.equal(errors[0]!.remedy, ERRORS[code].remedy)
  assert.doesNotMatch(errors[0]!.msg, /\n/)
  assert.equal(worker.stderr, '')
}

/** Offsets of the input records that output records stand for, in the order of the output; of one input partition. */
export function sourceOffsets(records: readonly LogRecord[], partition = 0): number[] {
  const sources = records.map(record => headerText(record, 'source')!.split('/').map(Number))
  return sources.filter(source => source[1] === partition).map(source => source[2]!)
}

/**
 * Initialises a transactional id, which ends the open transaction of its owner and fences it: afterwards nothing that a
 * dead worker left behind can change any more.
 */
export async function fence(transactionalId: string): Promise<void> {
  const producer = kafka().producer({
    transactionalId,
    maxInFlightRequests: 1,
    idempotent: true,
    createPartitioner: Partitioners.DefaultPartitioner,
  })
  await producer.connect()
  try {
    const transaction = await producer.transaction()
    await transaction.abort()
  } finally {
    await producer.disconnect()
  }
}
