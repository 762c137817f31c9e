import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { ExternalDataError, Inspection, type InspectionOptions } from '../../src/inference/inspection.ts'
import { parseSessions } from '../../src/inference/placement.ts'
import { fixture, half, lookup, ManualTimers } from './fixtures.ts'
import { Openings } from './openings.ts'

const inspect = ({ modelFile, spec }: ReturnType<typeof lookup>, options: Partial<InspectionOptions> = {}) =>
  Inspection.open({
    modelFile,
    sha256: spec.sha256,
    external: [],
    placement: parseSessions('cpu')[0]!,
    timeoutMs: 60_000,
    clock: systemClock,
    ...options,
  })

const row = (spec: ReturnType<typeof lookup>['spec'], data: BigInt64Array | Float16Array) => [
  { ...spec.inputs[0]!, data },
]

describe('an inspection', { timeout: 20_000 }, () => {
  it('says what the graph says, and where it was opened', async t => {
    const inspection = await inspect(fixture('columns', {}, {}))
    t.after(() => inspection.close())
    assert.equal(inspection.provider, 'cpu')
    assert.deepEqual(inspection.signature, {
      inputs: [
        { name: 'age', type: 'float32', shape: [null, 1] },
        { name: 'home city', type: 'string', shape: [null, 1] },
      ],
      outputs: [
        { name: 'doubled.age', type: 'float32', shape: [null, 1] },
        { name: 'code', type: 'int64', shape: [null, 1] },
      ],
    })
  })

  it('runs rows, 16-bit floats too, and goes on after one that the runtime refuses', async t => {
    const model = lookup()
    const inspection = await inspect(model)
    t.after(() => inspection.close())
    const refused = inspection.tryRows(row(model.spec, BigInt64Array.of(3n, 77n)), ['value'])
    await assert.rejects(refused, { code: 'inference-failed', message: /77|out of/i })
    assert.deepEqual(await inspection.tryRows(row(model.spec, BigInt64Array.of(1n, 2n, 3n)), ['value']), [[3, 1]])
    const halves = await inspect(half())
    t.after(() => halves.close())
    assert.deepEqual(await halves.tryRows(row(half().spec, new Float16Array(8)), ['twice']), [[2, 4]])
  })

  it('names all files that the graph refers to', async () => {
    await assert.rejects(inspect(fixture('external-inside', {}, {})), (error: unknown) => {
      assert.ok(error instanceof ExternalDataError)
      assert.deepEqual(
        error.references.map(({ location }) => location),
        ['./else.weights', 'then.weights'],
      )
      return true
    })
  })

  it('gives up a model that does not open in time', async t => {
    const openings = new Openings()
    t.after(() => openings.release())
    openings.next({ hang: 1 })
    const clock = new ManualTimers()
    const opening = inspect(lookup(), { threadUrl: openings.threadUrl, timeoutMs: 700, clock })
    const late = assert.rejects(opening, {
      code: 'session-failed',
      message: /did not open .*lookup\.onnx within 700 ms; it was given up/,
    })
    await openings.reached()
    assert.equal(await clock.fire(), 700)
    await late
  })

  it('survives a model that ends its thread', async () => {
    const dying = new URL(`data:text/javascript,${encodeURIComponent('process.exit(9)')}`)
    const message = /could not open .*lookup\.onnx: its thread ended with exit code 9$/
    await assert.rejects(inspect(lookup(), { threadUrl: dying }), { code: 'session-failed', message })
  })

  it('refuses other bytes than those that were hashed', async () => {
    await assert.rejects(inspect(lookup(), { sha256: '0'.repeat(64) }), {
      code: 'model-corrupt',
      message: /its SHA-256 is/,
    })
  })
})
