import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import { putStrings, slotCapacity, TensorSlots, takeStrings, viewSlot } from '../../src/inference/slots.ts'
import { fixture } from './fixtures.ts'

const { spec: numbers } = fixture('row-sums', { x: ['float32', [4]] }, { sum: ['float64', [2]] })
const { spec: strings } = fixture(
  'strings',
  { words: ['string', [2]] },
  { echo: ['string', [2]], code: ['int64', [2]] },
)

describe('tensor slots', () => {
  it('hold as many rows as asked for, or as the bytes allow, or one', () => {
    assert.equal(slotCapacity(numbers, 1000), 1000)
    assert.equal(slotCapacity(numbers, 1000, 320), 10)
    assert.equal(slotCapacity(numbers, 1000, 31), 1)
    assert.equal(slotCapacity(numbers, 10 ** 9), Math.floor((64 * 1024 * 1024) / 32))
    assert.equal(slotCapacity({ inputs: strings.inputs, outputs: [] }, 1000, 1), 1000)
  })

  it('are lent once at a time', () => {
    const slots = new TensorSlots(numbers, 2, 8)
    const [a, b] = [slots.acquire()!, slots.acquire()!]
    assert.notEqual(a.id, b.id)
    assert.equal(slots.acquire(), undefined)
    slots.release(a)
    assert.equal(slots.acquire(), a)
    slots.release(b)
    assert.throws(() => slots.release(b), { code: 'internal', message: /slot \d was released, but is not lent/ })
  })

  it('show numbers to every view of their memory', () => {
    const slots = new TensorSlots(numbers, 1, 8)
    const slot = slots.acquire()!
    const other = viewSlot(slot.id, numbers, 8, slots.shared[slot.id]!)
    slot.inputs[0]!.data[31] = 7
    assert.equal(other.inputs[0]!.data[31], 7)
    assert.equal(other.inputs[0]!.data.length, 32)
    assert.equal(other.outputs[0]!.data.length, 16)
  })

  it('have floats that are checked fast on every thread that packs them', async () => {
    const { spec: layout } = fixture('row-sums', { x: ['float32', [64]] }, { sum: ['float32', []] })
    const [shared] = new TensorSlots(layout, 1, 8).shared
    const thread = new Worker(new URL('./checking-thread.ts', import.meta.url), { workerData: { layout, shared } })
    assert.deepEqual(await once(thread, 'message'), [['fast', true, false]])
  })

  it('carry strings from view to view, the rows asked for and no others', () => {
    const slots = new TensorSlots(strings, 1, 4)
    const slot = slots.acquire()!
    const other = viewSlot(slot.id, strings, 4, slots.shared[slot.id]!)
    const data = slot.outputs[0]!.data as string[]
    data.splice(0, 8, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h')
    const taken = takeStrings(slot.outputs, 1, 2)
    assert.deepEqual(taken, [['c', 'd', 'e', 'f']])
    putStrings(other.outputs, 1, taken)
    assert.deepEqual(other.outputs[0]!.data, ['', '', 'c', 'd', 'e', 'f', '', ''])
  })
})
