import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseOptions } from '../../src/config/options.ts'
import { optionName, SETTING_KEYS } from '../../src/config/settings.ts'
import { SluiceError } from '../../src/core/errors.ts'

const refuses = (argv: string[], message: RegExp) => {
  const check = (error: unknown) =>
    error instanceof SluiceError && error.code === 'invalid-config' && message.test(error.message)
  assert.throws(() => parseOptions(argv, { force: 'boolean', model: 'string' }), check)
}

describe('parseOptions', () => {
  test('takes values after a space and after an equals sign', () => {
    const { settings } = parseOptions(['--max-batch-size', '64', '--input-topic=a=b', '--max-queue-delay-ms', '-5'])
    assert.deepEqual(settings, { maxBatchSize: '64', inputTopic: 'a=b', maxQueueDelayMs: '-5' })
  })

  test('takes flags, their negation and their values', () => {
    assert.deepEqual(parseOptions(['--kafka-ssl', '--no-kafka-ssl-verify']).settings, {
      kafkaSsl: 'true',
      kafkaSslVerify: 'false',
    })
    assert.deepEqual(parseOptions(['--kafka-ssl=false']).settings, { kafkaSsl: 'false' })
  })

  test('the last of several wins', () => {
    assert.deepEqual(parseOptions(['--kafka-ssl', '--no-kafka-ssl', '--group-id=a', '--group-id', 'b']).settings, {
      kafkaSsl: 'false',
      groupId: 'b',
    })
  })

  test("keeps a command's own options apart", () => {
    const parsed = parseOptions(['show', '--model', 'iris', '--force', '--model-name=x', '5.1,-3'], {
      model: 'string',
      force: 'boolean',
    })
    assert.deepEqual(parsed, {
      settings: { modelName: 'x' },
      extra: { model: 'iris', force: true },
      positionals: ['show', '5.1,-3'],
    })
    assert.deepEqual(parseOptions(['--no-force'], { force: 'boolean' }).extra, { force: false })
  })

  test('rows of numbers, a lone dash and all after -- are positionals', () => {
    const { positionals } = parseOptions(['-1,2', '-.5', '-', '--', '--max-batch-size', '1'])
    assert.deepEqual(positionals, ['-1,2', '-.5', '-', '--max-batch-size', '1'])
  })

  test('names an unknown option and the nearest that exists', () => {
    refuses(['--max-bach-size', '64'], /^unknown option --max-bach-size: did you mean --max-batch-size\?$/)
    refuses(['--forse'], /did you mean --force\?/)
    refuses(['--entirely-different-thing'], /`sluice config` lists the settings/)
    refuses(['-x'], /unknown option -x/)
    refuses(['--no-input-topic'], /unknown option --no-input-topic/)
    refuses(['--constructor'], /unknown option/)
  })

  test('asks for a missing value', () => {
    refuses(['--max-batch-size'], /^--max-batch-size needs a value/)
    refuses(['--max-batch-size', '--kafka-ssl'], /^--max-batch-size needs a value/)
    refuses(['--force=maybe'], /^--force must be true or false$/)
  })

  test('knows an option for every setting, and no two are the same', () => {
    assert.equal(new Set(SETTING_KEYS.map(optionName)).size, SETTING_KEYS.length)
    for (const key of SETTING_KEYS) assert.deepEqual(parseOptions([`--${optionName(key)}=1`]).settings, { [key]: '1' })
  })
})
