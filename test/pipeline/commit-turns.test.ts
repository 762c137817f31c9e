import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CommitTurns } from '../../src/pipeline/commit-turns.ts'
import { FakeClock, settle } from './fake-clock.ts'

/** Commits that end when the test says so, and the order in which they began. */
class Commits {
  readonly clock = new FakeClock()
  readonly turns: CommitTurns
  readonly begun: string[] = []
  readonly #ends = new Map<string, { resolve(): void; reject(error: Error): void }>()
  readonly outcomes = new Map<string, string>()

  constructor(atOnce: number) {
    this.turns = new CommitTurns(atOnce, this.clock)
  }

  async begin(...names: string[]): Promise<void> {
    for (const name of names) {
      const ended = this.turns.run(() => {
        this.begun.push(name)
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        this.#ends.set(name, { resolve, reject })
        return promise
      })
      ended.then(
        () => this.outcomes.set(name, 'committed'),
        (error: Error) => this.outcomes.set(name, error.message),
      )
    }
    await settle()
  }

  async end(name: string, error?: Error): Promise<void> {
    if (error === undefined) this.#ends.get(name)!.resolve()
    else this.#ends.get(name)!.reject(error)
    await settle()
  }
}

test('no more run at once than there are turns, and who waited longest is next', async () => {
  const commits = new Commits(2)
  await commits.begin('a', 'b', 'c', 'd')
  assert.deepEqual(commits.begun, ['a', 'b'])
  await commits.end('b')
  assert.deepEqual(commits.begun, ['a', 'b', 'c'])
  await commits.begin('b again')
  await commits.end('a')
  assert.deepEqual(commits.begun, ['a', 'b', 'c', 'd'])
  for (const name of ['c', 'd', 'b again']) await commits.end(name)
  await commits.begin('e', 'f', 'g')
  assert.deepEqual(commits.begun.slice(4), ['b again', 'e', 'f'])
  assert.equal(commits.outcomes.get('b again'), 'committed')
})

test('a commit that fails passes its turn on, and its error is for whoever asked', async () => {
  const commits = new Commits(1)
  await commits.begin('a', 'b')
  await commits.end('a', new Error('no broker'))
  assert.equal(commits.outcomes.get('a'), 'no broker')
  assert.deepEqual(commits.begun, ['a', 'b'])
  await commits.end('b')
  assert.equal(commits.clock.waiting, 0, 'no timer is left')
})

test('a commit that takes long goes on without its turn, and passes on no second one when it ends', async () => {
  const commits = new Commits(1)
  await commits.begin('stuck', 'b', 'c')
  await commits.clock.advance(199)
  assert.deepEqual(commits.begun, ['stuck'])
  await commits.clock.advance(1)
  assert.deepEqual(commits.begun, ['stuck', 'b'])
  await commits.end('stuck')
  assert.equal(commits.outcomes.get('stuck'), 'committed')
  assert.deepEqual(commits.begun, ['stuck', 'b'])
  await commits.end('b')
  assert.deepEqual(commits.begun, ['stuck', 'b', 'c'])
})
