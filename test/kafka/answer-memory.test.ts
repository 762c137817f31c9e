import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AnswerMemory, type Loan } from '../../src/kafka/answer-memory.ts'
import { MemoryPool } from '../../src/kafka/memory-pool.ts'

const KIB = 1024
const MIB = 1024 * KIB

/** A pool of its own, which writes down what was given back. */
function watched(): { memory: AnswerMemory; pool: MemoryPool; freed: ArrayBuffer[] } {
  const pool = new MemoryPool()
  const freed: ArrayBuffer[] = []
  pool.watch(buffer => freed.push(buffer))
  return { memory: new AnswerMemory(pool), pool, freed }
}

/** An answer of so many bytes, and the loan that it lies in. */
function lend(memory: AnswerMemory, bytes: number): { answer: Buffer; loan: Loan } {
  const answer = memory.lend(bytes)
  return { answer, loan: memory.loanOf(answer)! }
}

test('an answer has the length asked for, at the beginning of its memory', () => {
  const { memory } = watched()
  for (const bytes of [128 * KIB, 128 * KIB + 1, 200_000, 3 * MIB, 32 * MIB]) {
    const { answer, loan } = lend(memory, bytes)
    assert.deepEqual([answer.length, answer.byteOffset], [bytes, 0])
    assert.ok(answer.buffer.byteLength >= bytes && answer.buffer.byteLength < 2 * bytes)
    loan.letGo()
  }
})

test('small answers have memory of their own, which nobody gives back', () => {
  const { memory } = watched()
  for (const bytes of [4, 5_000, 128 * KIB - 1]) {
    const answer = memory.lend(bytes)
    assert.equal(answer.length, bytes)
    assert.equal(memory.loanOf(answer), undefined, `${bytes} bytes`)
  }
  assert.ok(memory.loanOf(memory.lend(128 * KIB)))
})

test('memory is lent again once the last holder has let go, not before', () => {
  const { memory, pool, freed } = watched()
  const first = lend(memory, 200 * KIB)
  assert.equal(first.loan.hold(), first.loan, 'it is handed on as it is held')
  first.loan.hold()
  for (const left of [2, 1]) {
    first.loan.letGo()
    assert.deepEqual([freed.length, pool.freeBytes], [0, 0], `${left} still hold it`)
    assert.equal(memory.loanOf(first.answer), first.loan)
    assert.notEqual(memory.lend(200 * KIB).buffer, first.answer.buffer)
  }
  first.loan.letGo()
  assert.equal(freed.length, 1)
  assert.equal(freed[0], first.answer.buffer)
  const second = memory.lend(130 * KIB)
  assert.equal(second.buffer, first.answer.buffer)
  assert.equal(second.length, 130 * KIB)
})

test('the answer let go of last is where the next one of its size will lie', () => {
  const { memory } = watched()
  const [cold, warm, large] = [lend(memory, 256 * KIB), lend(memory, 200 * KIB), lend(memory, 512 * KIB)]
  for (const { loan } of [cold, warm, large]) loan.letGo()
  assert.equal(memory.lend(256 * KIB).buffer, warm.answer.buffer)
  assert.equal(memory.lend(256 * KIB).buffer, cold.answer.buffer)
  assert.equal(memory.lend(300 * KIB).buffer, large.answer.buffer)
})

test('to let go once too often is an error, which leaves the next loan of that memory alone', () => {
  const { memory, pool, freed } = watched()
  const first = lend(memory, 1 * MIB)
  first.loan.letGo()
  assert.throws(() => first.loan.letGo(), /let go of once too often/)
  const second = lend(memory, 1 * MIB)
  assert.equal(second.answer.buffer, first.answer.buffer)
  assert.throws(() => first.loan.letGo(), /let go of once too often/)
  assert.deepEqual([freed.length, pool.freeBytes], [1, 0])
  second.loan.letGo()
  assert.deepEqual([freed.length, pool.freeBytes], [2, 1 * MIB])
})

test('the loan of an answer is found by any view of it, as long as it lasts', () => {
  const { memory, pool } = watched()
  const { answer, loan } = lend(memory, 1 * MIB)
  assert.ok(loan)
  assert.equal(memory.loanOf(answer.subarray(1_000, 1_010)), loan)
  assert.equal(memory.loanOf(new Uint8Array(answer.buffer, 7, 1)), loan)
  assert.equal(memory.loanOf(Buffer.alloc(1 * MIB)), undefined)
  assert.equal(new AnswerMemory(pool).loanOf(answer), undefined)
  loan.letGo()
  assert.equal(memory.loanOf(answer), undefined)
  const next = lend(memory, 1 * MIB)
  assert.notEqual(next.loan, loan)
  assert.equal(memory.loanOf(answer), next.loan, 'an old view lies in the new answer')
})
