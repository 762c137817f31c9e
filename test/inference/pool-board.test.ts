import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { PoolBoard } from '../../src/inference/pool-board.ts'

test('a client sees the sessions that are idle, less the runs that are on their way', () => {
  const board = PoolBoard.of(2)
  const other = new PoolBoard(board.memory)
  board.publish(2, 0)
  other.announce()
  assert.equal(board.idle, 1)
  other.announce()
  other.announce()
  assert.equal(board.idle, 0)
  board.arrived()
  board.publish(1, 3)
  assert.deepEqual([other.idle, other.hung], [0, 3])
  board.arrived()
  board.arrived()
  assert.equal(other.idle, 1)
})

test('whoever finds no session idle is known to wait, once', () => {
  const board = PoolBoard.of(2)
  assert.equal(board.idleOrWait(1), 0)
  assert.deepEqual([board.takeWait(0), board.takeWait(1), board.takeWait(1)], [false, true, false])
  board.publish(1, 0)
  assert.equal(board.idleOrWait(1), 1)
  assert.equal(board.takeWait(1), false)
})

test('a session that becomes idle between the first look and the word that the client waits is not missed', t => {
  const board = PoolBoard.of(1)
  beforeNextStore(t, () => {
    // All that the server does, at the worst moment: nobody waits yet, so it tells nobody.
    board.publish(1, 0)
    assert.equal(board.takeWait(0), false)
  })
  assert.equal(board.idleOrWait(0), 1)
})

/** Has another thread come first: `interrupt` runs right before the next `Atomics.store`. */
function beforeNextStore(t: TestContext, interrupt: () => void): void {
  const { store } = Atomics
  const restore = () => Object.assign(Atomics, { store })
  t.after(restore)
  const interrupted = (...args: Parameters<typeof store>) => {
    restore()
    interrupt()
    return store(...args)
  }
  Object.assign(Atomics, { store: interrupted })
}
