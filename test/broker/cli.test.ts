import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { suite, test } from 'node:test'
import { brokers, uniqueName, until, withAdmin } from '../support/broker.ts'
import { goldenSamples, MODEL_STORE } from '../support/models.ts'
import { runSluice } from '../support/sluice-process.ts'

/** Away from the checkout, so that a developer's `.env` has no say. */
const cwd = tmpdir()
const env = { MODEL_STORE }
const sluice = (...args: string[]) => runSluice(args, { cwd, env })

suite('the command line', { concurrency: 2, timeout: 60_000 }, () => {
  test('lists its commands, and each explains itself with an example that is its own', async () => {
    const { code, stdout, stderr } = await sluice('--help')
    assert.equal(code, 0)
    assert.equal(stderr, '')
    const commands = [...stdout.matchAll(/^ {2}(\w+) {2,}\S/gm)].map(([, name]) => name!)
    for (const name of ['worker', 'predict', 'topics', 'config']) assert.ok(commands.includes(name), name)
    for (const name of commands) {
      const help = await sluice(name, '--help')
      assert.equal(help.code, 0)
      assert.match(help.stdout, new RegExp(`^Usage: sluice ${name}`))
      assert.match(help.stdout, new RegExp(`Example:\\n {2}.*sluice ${name}`))
      assert.equal(help.stderr, '')
    }
  })

  test('without a command shows the same and fails as wrong usage', async () => {
    const { code, stdout } = await sluice()
    assert.equal(code, 2)
    assert.match(stdout, /Usage: sluice COMMAND/)
  })

  const WRONG: readonly (readonly [args: readonly string[], names: RegExp])[] = [
    [['deploy'], /"deploy" is no command.*worker/],
    [['worker', '--input-topci', 'a'], /--input-topci.*--input-topic/],
    [['worker', '--max-batch-size', 'many'], /--max-batch-size is "many".*from 1 to 65536/],
    [['worker', '--model-name', 'm', '--output-topic', 'b'], /INPUT_TOPIC/],
    [['config', '--session-timeout-ms', '40000'], /SESSION_TIMEOUT_MS must be below TRANSACTION_TIMEOUT_MS/],
    [['topics', 'delete'], /topics create/],
    [['topics', 'create', '--input-topic', 'a', '--output-topic', 'b', '--partitions', 'x'], /--partitions is "x"/],
    [['predict', '--model', 'iris-regressor', '1,2,3'], /3 values.*takes 4/],
  ]
  for (const [args, names] of WRONG) {
    test(`${args.join(' ')}: exit code 2 and one line that says why`, async () => {
      const { code, stdout, stderr } = await sluice(...args)
      assert.equal(stdout, '')
      assert.match(stderr, names)
      assert.match(stderr, /^sluice: [^\n]*\n$/, 'one line')
      assert.equal(code, 2)
    })
  }

  test('a wrong value in the environment is named as it was given', async () => {
    const wrong = { ...env, PROCESSING_GUARANTEE: 'at-most-once' }
    const { code, stderr } = await runSluice(['config'], { cwd, env: wrong })
    assert.equal(code, 2)
    assert.match(
      stderr,
      /^sluice: PROCESSING_GUARANTEE[^\n]* is "at-most-once"[^\n]*exactly-once or at-least-once[^\n]*\n$/,
    )
  })

  test('config prints every setting, where it came from, and no secret', async () => {
    const secret = 'correct horse battery'
    const kafka = { KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USERNAME: 'someone', KAFKA_SASL_PASSWORD: secret }
    const { code, stdout, stderr } = await runSluice(['config', '--max-batch-size', '64'], {
      cwd,
      env: { ...env, ...kafka },
    })
    assert.equal(code, 0)
    assert.match(stdout, /MAX_BATCH_SIZE\s.*64/)
    assert.match(stdout, /KAFKA_SASL_USERNAME\s.*someone/)
    assert.match(stdout, /DRAIN_TIMEOUT_MS\s.*20000/)
    assert.ok(!`${stdout}${stderr}`.includes(secret))
  })

  test('predict prints what the trainer saw', async () => {
    const regressor = await sluice('predict', '--model', 'iris-regressor', '0,0,0,0')
    assert.deepEqual(regressor, { code: 0, stdout: '0\n', stderr: '' })

    const { input, output } = goldenSamples('iris-classifier')[3]!
    const classifier = await sluice('predict', '--model', 'iris-classifier', '--json', JSON.stringify(input))
    assert.equal(classifier.code, 0)
    assert.equal(JSON.parse(classifier.stdout).label, output.label)

    const named = await sluice('predict', '--model', 'iris-classifier', Object.values(input).join(','))
    assert.match(named.stdout, /^label: 2 \(virginica\)$/m)
  })

  test('predict with a model that is not there fails with one line that says what is there', async () => {
    const { code, stdout, stderr } = await sluice('predict', '--model', 'tulips', '0')
    assert.equal(code, 1)
    assert.equal(stdout, '')
    assert.match(stderr, /^sluice: [^\n]*tulips[^\n]*\n$/)
    assert.match(stderr, /iris-classifier/)
  })

  test('topics create makes what is missing, and leaves what is there', async () => {
    const name = uniqueName('cli')
    const args = ['topics', 'create', '--kafka-brokers', brokers().join(','), '--output-topic', `${name}-out`]
    const first = await sluice(...args, '--input-topic', `${name}-a`, '--partitions', '3')
    assert.equal(first.code, 0, first.stderr)
    const second = await sluice(...args, '--input-topic', `${name}-b`, '--partitions', '5')
    assert.equal(second.code, 0, second.stderr)
    assert.match(second.stdout, new RegExp(`^${name}-out: exists, left as it is$`, 'm'))
    const topics = [`${name}-a`, `${name}-a.dlq`, `${name}-out`, `${name}-b`, `${name}-b.dlq`]
    const counts = await withAdmin(async admin => {
      // A broker hears of new topics a moment after the controller has made them.
      const known = async () => {
        const names = await admin.listTopics()
        return topics.every(topic => names.includes(topic))
      }
      await until(known, () => `the broker does not know all of ${topics.join(', ')}`)
      return (await admin.fetchTopicMetadata({ topics })).topics
    })
    assert.deepEqual(
      topics.map(topic => counts.find(({ name }) => name === topic)?.partitions.length),
      [3, 3, 3, 5, 5],
    )
  })

  test('topics create without a broker fails with one line', async () => {
    const args = ['--kafka-brokers', '127.0.0.1:1', '--input-topic', 'a', '--output-topic', 'b']
    const { code, stderr } = await sluice('topics', 'create', ...args)
    assert.equal(code, 1)
    assert.match(stderr, /^sluice: [^\n]*\(broker-unreachable\)[^\n]*KAFKA_BROKERS[^\n]*\n$/)
  })
})
