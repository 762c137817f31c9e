import assert from 'node:assert/strict'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, type TestContext, test } from 'node:test'
import { type CommandContext, resolveCommand } from '../../src/commands/command.ts'
import { model as modelCommand } from '../../src/commands/model.ts'
import type { RolloutState } from '../../src/core/rollout.ts'
import { stateRecord } from '../../src/core/rollout-records.ts'
import { temporaryStore } from '../models/bundle-folder.ts'
import { brokers, createTopics, uniqueName, until, withAdmin } from '../support/broker.ts'
import { FakeReplica, type ReplicaScript } from '../support/fake-replica.ts'
import { MODEL_STORE } from '../support/models.ts'
import { append } from '../support/rollout.ts'
import { readTopic } from '../support/topic-reader.ts'

const MODEL = 'iris-regressor'

for (const [name, { usage, help }] of Object.entries(modelCommand.subcommands)) {
  test(`sluice model ${name} explains itself with an example that is its own`, () => {
    assert.match(usage, new RegExp(`^sluice model ${name} `))
    assert.match(help, new RegExp(`\\n\\nExample:\\n {2}sluice model ${name}\\b`))
    assert.ok(help.split('\n').every(line => line.length <= 125))
  })
}

suite('changing a rollout', { concurrency: 4, timeout: 120_000 }, () => {
  test('all replicas prepare, then all switch; then a canary, and back', async t => {
    const stage = await Stage.open(t)
    await stage.join({ name: 'a' })
    await stage.join({ name: 'b' })
    const { stdout, stderr } = await stage.run('promote', MODEL, '2')
    assert.match(stdout, /^iris-regressor: version 2 is live \(revision 1\); 2 replicas switched within [\d,]+ ms\.$/m)
    assert.match(stdout, /^ {2}a\.host:42 \(?.*ms {2}group /m)
    assert.equal(stderr, '')
    await stage.run('canary', MODEL, '3', '--percent', '12.5')
    const live = { stable: '2', canary: { version: '3', percent: 12.5 }, shadows: [] }
    assert.deepEqual(plain(await stage.state()), { revision: 2, live, former: ['1'] })
    const status = await stage.run('status', MODEL)
    assert.match(status.stdout, /^iris-regressor: version 2, canary 3 for 12\.5 % of the keys \(revision 2,/)
    assert.match(status.stdout, /before it, the latest first: 1$/m)
    assert.match(status.stdout, /b\.host:42 .*iris-regressor version 2, canary 3 .*; revision 2$/m)
    const { stdout: json } = await stage.run('rollback', MODEL, '--json')
    const { plan, revision, changed, replicas } = JSON.parse(json)
    assert.deepEqual([plan, revision, changed], [{ stable: '1', shadows: [] }, 3, true])
    assert.deepEqual(replicas.map((each: { place: string }) => each.place).sort(), ['a.host:42', 'b.host:42'])
    assert.deepEqual(plain(await stage.state()), { revision: 3, live: { stable: '1', shadows: [] }, former: [] })
  })

  test('a version that one replica cannot load never becomes live, and the message says where and why', async t => {
    const stage = await Stage.open(t)
    await stage.join({ name: 'a' })
    const problem = { version: '2', code: 'golden-mismatch', message: 'element 0 of y is 7, expected 1' }
    const sick = await stage.join({ name: 'b', prepare: ({ stable }) => (stable === '2' ? problem : undefined) })
    await stage.run('promote', MODEL, '3')
    const before = plain(await stage.state())
    await stage.fails(
      'rollout-refused',
      /^b\.host:42 .*version "2" \(golden-mismatch\): element 0 of y.*withdrawn/,
      'promote',
      MODEL,
      '2',
    )
    assert.deepEqual(plain(await stage.state()), before)
    await sick.close()
    await stage.run('promote', MODEL, '2')
    assert.equal((await stage.state())?.live?.stable, '2')
  })

  test('a member that says nothing is named when time is up, and nothing has changed', async t => {
    const stage = await Stage.open(t)
    await stage.join({ name: 'a' })
    await stage.join({ name: 'quiet', silent: true })
    const names =
      /1 of 2 members have prepared; missing: member quiet-\S+ of group .*client quiet at 127\.0\.0\.1, which has said nothing/
    const { stderr } = await stage.fails('rollout-timeout', names, 'promote', MODEL, '2', '--timeout', '2')
    assert.equal(stderr, '')
    assert.deepEqual(plain(await stage.state()), { revision: 0, live: undefined, former: [] })
  })

  test('a replica that loads slowly is waited for, one that is pinned is not', async t => {
    const stage = await Stage.open(t)
    const slow = Promise.withResolvers<undefined>()
    await stage.join({ name: 'slow', prepare: () => slow.promise })
    await stage.join({ name: 'fixed', pinned: '1' })
    const running = stage.run('promote', MODEL, '2', '--json')
    await stage.proposal()
    assert.equal((await stage.state())?.live, undefined)
    slow.resolve(undefined)
    const { stdout, stderr } = await running
    assert.deepEqual(JSON.parse(stdout).pinned.length, 1)
    assert.match(stderr, /fixed\.host:42 .* is pinned to version 1/)
  })

  test('a replica that joins in the first phase has to be ready, too', async t => {
    const stage = await Stage.open(t)
    const a = Promise.withResolvers<undefined>()
    const b = Promise.withResolvers<undefined>()
    await stage.join({ name: 'a', prepare: () => a.promise })
    const running = stage.run('promote', MODEL, '2')
    await stage.proposal()
    await stage.join({ name: 'b', prepare: () => b.promise })
    a.resolve(undefined)
    await stage.reported('a', report => report.includes('"prepared"'))
    assert.equal((await stage.state())?.live, undefined)
    b.resolve(undefined)
    assert.match((await running).stdout, /2 replicas switched/)
  })

  test('a replica that joins between the phases is waited for in the second', async t => {
    const stage = await Stage.open(t)
    const joined = Promise.withResolvers<void>()
    await stage.join({ name: 'a', maySwitch: () => joined.promise })
    const running = stage.run('promote', MODEL, '2')
    await until(
      async () => (await stage.state())?.live !== undefined,
      () => 'the plan is not live',
    )
    await stage.join({ name: 'late' })
    joined.resolve()
    const { stdout } = await running
    assert.match(stdout, /2 replicas switched/)
    assert.match(stdout, /late\.host:42/)
  })

  test('without replicas the versions are verified here', async t => {
    const stage = await Stage.open(t)
    const { stdout, stderr } = await stage.run('promote', MODEL, '2')
    assert.match(stdout, /is live \(revision 1\); no replica follows it now\./)
    assert.match(stderr, /verified here/)
    await stage.breakGolden('3')
    const why = /Version "3" of iris-regressor cannot serve on this machine \(golden-mismatch\).*withdrawn/
    await stage.fails('rollout-refused', why, 'promote', MODEL, '3')
    assert.equal((await stage.state())?.live?.stable, '2')
  })

  test('what is not in the store, or makes no sense, is refused before anything is written', async t => {
    const stage = await Stage.open(t)
    assert.match((await stage.run('status', MODEL)).stderr, /^rollout-\S+ does not exist: replicas report once/)
    await stage.fails('model-missing', /no version "9".*it has 1, 2, 3/, 'promote', MODEL, '9')
    await stage.fails('rollout-invalid', /Promote the one/, 'canary', MODEL, '2', '--percent', '5')
    assert.equal(await stage.state(), undefined)
    await stage.run('promote', MODEL, '1')
    await stage.run('promote', MODEL, '2')
    await stage.run('promote', MODEL, '3')
    const written = (await readTopic(stage.topic)).length
    await rm(join(stage.store, MODEL, '2'), { recursive: true })
    await stage.fails('model-missing', /no version "2"/, 'rollback', MODEL)
    await stage.fails('rollout-invalid', /"9" was not stable before/, 'rollback', MODEL, '--to', '9')
    await stage.fails('invalid-config', /--percent is "200"/, 'canary', MODEL, '2', '--percent', '200')
    await stage.fails('invalid-config', /expected NAME and VERSION, given: none/, 'promote')
    assert.equal((await readTopic(stage.topic)).length, written)
    await stage.run('rollback', MODEL, '--to', '1')
    assert.equal((await stage.state())?.live?.stable, '1')
  })

  test('what is live already is left alone', async t => {
    const stage = await Stage.open(t)
    await stage.run('promote', MODEL, '2')
    const { stdout } = await stage.run('promote', MODEL, '2')
    assert.match(stdout, /version 2 is live already \(revision 1\); nothing was changed/)
    assert.equal((await readTopic(stage.topic)).length, 2)
  })

  test('a second command ends the first', async t => {
    const stage = await Stage.open(t)
    const stuck = Promise.withResolvers<undefined>()
    await stage.join({ name: 'a', prepare: ({ stable }) => (stable === '2' ? stuck.promise : undefined) })
    const first = stage.fails('rollout-superseded', /Another command/, 'promote', MODEL, '2')
    await stage.proposal()
    assert.match((await stage.run('promote', MODEL, '3')).stdout, /version 3 is live \(revision 1\)/)
    await first
    stuck.resolve(undefined)
    assert.deepEqual(plain(await stage.state()), { revision: 1, live: { stable: '3', shadows: [] }, former: ['1'] })
  })

  test('a proposal that a killed command left behind is replaced', async t => {
    const stage = await Stage.open(t)
    await stage.join({ name: 'a' })
    await stage.run('promote', MODEL, '2')
    const left = { ...(await stage.state())!, proposed: { id: 'left-behind', plan: { stable: '1', shadows: [] } } }
    await append(brokers(), stage.topic, stateRecord(left))
    assert.match((await stage.run('status', MODEL)).stdout, /^proposed: version 1;/m)
    await stage.run('promote', MODEL, '3')
    assert.deepEqual(plain(await stage.state()), {
      revision: 2,
      live: { stable: '3', shadows: [] },
      former: ['2', '1'],
    })
    await append(brokers(), stage.topic, stateRecord({ ...left, live: { stable: '3', shadows: [] }, revision: 2 }))
    await stage.run('promote', MODEL, '3')
    assert.equal((await stage.state())?.proposed, undefined, 'also where nothing else is to do')
  })

  test('stopped in the first phase it withdraws', async t => {
    const stage = await Stage.open(t)
    await stage.join({ name: 'a', prepare: () => new Promise(() => {}) })
    const stop = new AbortController()
    const running = stage.fails('rollout-stopped', /withdrawn/, { signal: stop.signal }, 'promote', MODEL, '2')
    await stage.proposal()
    stop.abort()
    await running
    assert.deepEqual(plain(await stage.state()), { revision: 0, live: undefined, former: [] })
    assert.equal((await stage.state())?.proposed, undefined)
  })

  test('a shadow gets a topic with as many partitions as the output', async t => {
    const stage = await Stage.open(t)
    const output = `${stage.topic}-out`
    await stage.run('promote', MODEL, '1')
    const args = ['shadow', MODEL, '2', '--output-topic', output]
    await stage.fails('topic-missing', /-out does not exist/, ...args)
    await createTopics({ [output]: 3 })
    assert.match((await stage.run(...args)).stdout, /-out\.shadow: created with 3 partitions\n.*shadow 2 is live/)
    const { topics } = await withAdmin(admin => admin.fetchTopicMetadata({ topics: [`${output}.shadow`] }))
    assert.equal(topics[0]!.partitions.length, 3)
    await stage.run('shadow', MODEL, '2', '--off')
    assert.deepEqual((await stage.state())?.live, { stable: '1', shadows: [] })
  })

  test('the topic is made compacted, with one partition', async t => {
    const stage = await Stage.open(t)
    await stage.run('promote', MODEL, '1')
    const entries = await withAdmin(admin =>
      admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: stage.topic }] }),
    )
    const config = entries.resources[0]!.configEntries.find(({ configName }) => configName === 'cleanup.policy')
    assert.equal(config?.configValue, 'compact')
  })
})

/** A rollout topic, a group and a store that nobody else uses. */
class Stage {
  readonly topic = uniqueName('rollout')
  readonly group = `${this.topic}-group`
  readonly input = `${this.topic}-in`
  readonly store: string
  readonly #t: TestContext

  private constructor(t: TestContext, store: string) {
    this.#t = t
    this.store = store
  }

  /** The store has versions 1, 2 and 3. */
  static async open(t: TestContext): Promise<Stage> {
    const stage = new Stage(t, await temporaryStore(t))
    for (const version of ['1', '2', '3']) {
      const folder = join(stage.store, MODEL, version)
      await cp(join(MODEL_STORE, MODEL, '1'), folder, { recursive: true })
      const manifest = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8'))
      await writeFile(join(folder, 'model.json'), JSON.stringify({ ...manifest, version }))
    }
    await createTopics({ [stage.input]: 4 })
    return stage
  }

  /** Resolves when the replica is a member. */
  async join(script: Pick<ReplicaScript, 'name'> & Partial<ReplicaScript>): Promise<FakeReplica> {
    const { topic: rolloutTopic, group, input } = this
    const replica = await FakeReplica.join({ rolloutTopic, group, input, model: MODEL, ...script })
    this.#t.after(() => replica.close())
    return replica
  }

  /** Runs `sluice model …` in this process. */
  async run(...words: readonly (string | { signal: AbortSignal })[]): Promise<{ stdout: string; stderr: string }> {
    const [stdout, stderr]: [string[], string[]] = [[], []]
    const given = words.filter(word => typeof word === 'string')
    const signal = words.find(word => typeof word === 'object')?.signal ?? new AbortController().signal
    const { command, argv } = resolveCommand(modelCommand, given)
    assert.ok('run' in command)
    const context: CommandContext = {
      argv,
      env: {
        KAFKA_BROKERS: brokers().join(','),
        GROUP_ID: this.group,
        ROLLOUT_TOPIC: this.topic,
        MODEL_STORE: this.store,
      },
      dotenvFile: join(tmpdir(), 'no-such-file'),
      signal,
      print: line => void stdout.push(line),
      stderr: { write: (text: string) => stderr.push(text) },
      release: 'test',
      useLog: () => {},
    }
    await command.run(context)
    return { stdout: stdout.join('\n'), stderr: stderr.join('') }
  }

  /** The same, for what must fail so. */
  async fails(code: string, message: RegExp, ...words: readonly (string | { signal: AbortSignal })[]) {
    const outcome = await this.run(...words).then(
      ({ stdout }) => assert.fail(`it went well: ${stdout}`),
      error => error as Error & { code?: string },
    )
    assert.equal(outcome.code, code, outcome.message)
    assert.match(outcome.message, message)
    return { stderr: '' }
  }

  /** What the topic says last of the model. */
  async state(): Promise<RolloutState | undefined> {
    if (!(await withAdmin(admin => admin.listTopics())).includes(this.topic)) return undefined
    const records = await readTopic(this.topic)
    const last = records.findLast(({ key }) => key?.toString() === `model/${MODEL}`)?.value?.toString()
    return last === undefined ? undefined : (JSON.parse(last) as RolloutState)
  }

  /** Resolves when there is a proposal. */
  async proposal(): Promise<void> {
    await until(
      async () => (await this.state())?.proposed !== undefined,
      () => 'there is no proposal',
    )
  }

  /** Resolves when a replica's last report is so. */
  async reported(name: string, holds: (report: string) => boolean): Promise<void> {
    const key = `replica/${this.group}/${name}`
    await readTopic(this.topic, {
      until: records => {
        const last = records.findLast(record => record.key?.toString() === key)?.value
        return last !== undefined && last !== null && holds(last.toString())
      },
    })
  }

  /** A version whose golden samples say something else than the model. */
  async breakGolden(version: string): Promise<void> {
    const file = join(this.store, MODEL, version, 'golden.jsonl')
    const lines = (await readFile(file, 'utf8')).trim().split('\n')
    const wrong = lines.map(line => {
      const { input, output } = JSON.parse(line)
      return JSON.stringify({ input, output: Object.fromEntries(Object.keys(output).map(field => [field, 77])) })
    })
    await writeFile(file, wrong.join('\n'))
  }
}

function plain(state: RolloutState | undefined) {
  const { revision, live, former } = state ?? {}
  return { revision, live, former }
}
