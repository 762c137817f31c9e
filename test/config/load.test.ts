import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import { loadSettings, redact } from '../../src/config/load.ts'
import { parseOptions } from '../../src/config/options.ts'
import { formatSettings } from '../../src/config/print.ts'
import { RULES } from '../../src/config/rules.ts'
import { envName, optionName, SETTING_KEYS, type SettingKey, settingOf } from '../../src/config/settings.ts'
import { SluiceError } from '../../src/core/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-config-'))
after(() => rmSync(folder, { recursive: true }))

function dotenv(content: string): string {
  const file = join(folder, '.env')
  writeFileSync(file, content)
  return file
}

/** The error of a load that must fail, checked for what every such error has. */
function failure(run: () => unknown): string {
  let thrown: unknown
  try {
    run()
  } catch (error) {
    thrown = error
  }
  assert.ok(thrown instanceof SluiceError, `expected a SluiceError, got ${thrown}`)
  assert.equal(thrown.code, 'invalid-config')
  assert.equal(thrown.exitCode, 2)
  assert.doesNotMatch(thrown.message, /\n/)
  return thrown.message
}

/** For every setting: a text that is allowed, what it becomes, and texts that are not. */
const CASES: Record<SettingKey, { good: string; value: unknown; bad: string[] }> = {
  kafkaBrokers: {
    good: 'a:9092, [::1]:9093',
    value: ['a:9092', '[::1]:9093'],
    bad: ['a', 'a:0', 'a:65536', 'a:1,', 'a b:1'],
  },
  kafkaClientId: { good: 'me', value: 'me', bad: ['a\0b'] },
  kafkaSsl: { good: 'true', value: true, bad: ['maybe', '2'] },
  kafkaSslCa: { good: 'ca.pem', value: 'ca.pem', bad: ['a\0b'] },
  kafkaSslCert: { good: 'c.pem', value: 'c.pem', bad: ['a\0b'] },
  kafkaSslKey: { good: 'k.pem', value: 'k.pem', bad: ['a\0b'] },
  kafkaSslVerify: { good: 'off', value: false, bad: ['never'] },
  kafkaSaslMechanism: { good: 'scram-sha-512', value: 'scram-sha-512', bad: ['gssapi', 'PLAIN'] },
  kafkaSaslUsername: { good: 'u', value: 'u', bad: ['a\0b'] },
  kafkaSaslPassword: { good: ' p w ', value: ' p w ', bad: ['a\0b'] },
  metadataMaxAgeMs: { good: '5000', value: 5000, bad: ['99', '1e4', '5 s'] },
  requestTimeoutMs: { good: '2500', value: 2500, bad: ['99', '1e4', '5 s', '2147483648'] },
  groupId: { good: 'g', value: 'g', bad: ['a\0b'] },
  inputTopic: { good: 'in.v1', value: 'in.v1', bad: ['a b', '.', '..', 'a/b', 'x'.repeat(250)] },
  outputTopic: { good: 'out', value: 'out', bad: ['a b'] },
  deadLetterTopic: { good: 'dead', value: 'dead', bad: ['ä'] },
  rolloutTopic: { good: 'r', value: 'r', bad: ['a b'] },
  timelineTopic: { good: 't', value: 't', bad: ['a b'] },
  modelOpenTimeoutMs: { good: '60000', value: 60_000, bad: ['999', '1 min'] },
  startFrom: { good: 'latest', value: 'latest', bad: ['now', '-1'] },
  onOffsetLoss: { good: 'continue', value: 'continue', bad: ['skip'] },
  modelStore: {
    good: 's3://models/team-a/',
    value: 's3://models/team-a/',
    bad: ['a\0b', 'gs://models', 's3://', 's3://a', 's3:///models', 's3://models/../other', 's3://key@models/a'],
  },
  modelStoreEndpoint: { good: 'http://s3:9000', value: 'http://s3:9000', bad: ['s3:9000'] },
  modelStoreRegion: { good: 'eu-west-1', value: 'eu-west-1', bad: ['a\0b'] },
  modelStorePathStyle: { good: 'false', value: false, bad: ['path'] },
  modelStoreTimeoutMs: { good: '2500', value: 2500, bad: ['99', '5 s'] },
  modelCacheDir: { good: '/c', value: '/c', bad: ['a\0b'] },
  modelName: { good: 'iris', value: 'iris', bad: ['../iris', 'a/b', '.x'] },
  modelVersion: { good: '3', value: '3', bad: ['..', '3/4'] },
  sessions: { good: 'cpu*2', value: 'cpu*2', bad: ['a\0b'] },
  intraOpThreads: { good: '2', value: 2, bad: ['-1', 'all', '1.5', '1025'] },
  runTimeoutMs: { good: '0', value: 0, bad: ['-1', '1s'] },
  inputFormat: { good: 'json', value: 'json', bad: ['csv'] },
  inputSchema: { good: 's.avsc', value: 's.avsc', bad: ['a\0b'] },
  outputFormat: { good: 'avro-raw', value: 'avro-raw', bad: ['protobuf'] },
  schemaRegistryUrl: { good: 'http://r:8081', value: 'http://r:8081', bad: ['r:8081', 'ftp://r', 'http:r', 'http://'] },
  schemaRegistryUsername: { good: 'u', value: 'u', bad: ['a\0b'] },
  schemaRegistryPassword: { good: 'p', value: 'p', bad: ['a\0b'] },
  schemaDir: { good: 's', value: 's', bad: ['a\0b'] },
  allowNonFinite: { good: '1', value: true, bad: ['nan'] },
  ioThreads: { good: '4', value: 4, bad: ['0', '65', 'all'] },
  maxBatchSize: { good: '64', value: 64, bad: ['0', '65537', 'abc', '0x10', '1_000'] },
  maxQueueDelayMs: { good: '5', value: 5, bad: ['-1', '0.5'] },
  targetLatencyMs: { good: '50', value: 50, bad: ['-1', '0.5'] },
  processingGuarantee: { good: 'at-least-once', value: 'at-least-once', bad: ['exactly_once'] },
  commitIntervalMs: { good: '100', value: 100, bad: ['-100'] },
  maxConcurrentCommits: { good: '8', value: 8, bad: ['0', '1025'] },
  sessionTimeoutMs: { good: '6000', value: 6000, bad: ['999'] },
  rebalanceTimeoutMs: { good: '6000', value: 6000, bad: ['999'] },
  transactionTimeoutMs: { good: '60000', value: 60_000, bad: ['999', 'Infinity'] },
  drainTimeoutMs: { good: '0', value: 0, bad: ['-1'] },
  maxInFlightRecords: { good: '2048', value: 2048, bad: ['0'] },
  maxInFlightRecordsTotal: { good: '4096', value: 4096, bad: ['0'] },
  maxInFlightBytesTotal: { good: '8589934592', value: 8_589_934_592, bad: ['1023'] },
  maxInFlightBytes: { good: '2048', value: 2048, bad: ['0', '1023', '1.5'] },
  maxRecordBytes: { good: '1000', value: 1000, bad: ['0', '1MB'] },
  maxOutputBytes: { good: '2000', value: 2000, bad: ['1023'] },
  fetchMaxWaitMs: { good: '50', value: 50, bad: ['-1'] },
  fetchMaxBytes: { good: '2000', value: 2000, bad: ['1023'] },
  httpHost: { good: '0.0.0.0', value: '0.0.0.0', bad: ['a\0b'] },
  httpPort: { good: '0', value: 0, bad: ['65536', '-1', 'http'] },
  httpApi: { good: 'false', value: false, bad: ['maybe'] },
  apiDeadlineMs: { good: '250', value: 250, bad: ['0', '-1'] },
  apiShare: { good: '0.25', value: 0.25, bad: ['0.91', '-0.1', '1e-1', '10%', '.'] },
  apiMaxBodyBytes: { good: '2048', value: 2048, bad: ['1023'] },
  apiMaxRows: { good: '100', value: 100, bad: ['0'] },
  apiMaxWaiting: { good: '16', value: 16, bad: ['0'] },
  apiMaxWaitingBytes: { good: '67108864', value: 67_108_864, bad: ['1023'] },
  logLevel: { good: 'debug', value: 'debug', bad: ['trace', 'INFO'] },
  logFormat: { good: 'json', value: 'json', bad: ['xml'] },
}

/** What a value needs beside it, for the rules to hold. */
const COMPANIONS: Partial<Record<SettingKey, Record<string, string>>> = {
  kafkaSaslMechanism: { KAFKA_SASL_USERNAME: 'u', KAFKA_SASL_PASSWORD: 'p' },
  kafkaSaslUsername: { KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_PASSWORD: 'p' },
  kafkaSaslPassword: { KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USERNAME: 'u' },
  kafkaSslCa: { KAFKA_SSL: 'true' },
  kafkaSslCert: { KAFKA_SSL: 'true', KAFKA_SSL_KEY: 'k' },
  kafkaSslKey: { KAFKA_SSL: 'true', KAFKA_SSL_CERT: 'c' },
  schemaRegistryUsername: { SCHEMA_REGISTRY_PASSWORD: 'p' },
  schemaRegistryPassword: { SCHEMA_REGISTRY_USERNAME: 'u' },
}

describe('every setting', () => {
  for (const key of SETTING_KEYS) {
    const { good, value, bad } = CASES[key]
    test(`${envName(key)} is read, and refused by name`, () => {
      const env = { ...COMPANIONS[key], [envName(key)]: good }
      assert.deepEqual(loadSettings({ env }).settings[key], value)
      for (const text of bad) {
        const fromEnv = failure(() => loadSettings({ env: { [envName(key)]: text } }))
        assert.ok(fromEnv.startsWith(`${envName(key)} (environment) is `), fromEnv)
        assert.ok(fromEnv.endsWith(`must be ${settingOf(key).kind.allowed}`), fromEnv)
        const fromOption = failure(() => loadSettings({ env: {}, options: { [key]: text } }))
        assert.ok(fromOption.startsWith(`--${optionName(key)} is `), fromOption)
      }
    })
  }

  test('the defaults are allowed values themselves, and break no rule', () => {
    const { settings } = loadSettings({ env: {} })
    for (const key of SETTING_KEYS) {
      const { kind, default: value } = settingOf(key)
      if (value !== undefined) assert.deepEqual(kind.parse(kind.show(value)), settings[key], key)
    }
  })

  test('a default that follows from a setting that is not set stays unset', () => {
    assert.equal(loadSettings({ env: {} }).settings.deadLetterTopic, undefined)
    assert.equal(loadSettings({ env: { INPUT_TOPIC: 'a' } }).settings.deadLetterTopic, 'a.dlq')
  })
})

describe('precedence', () => {
  test('options over environment over .env over defaults', () => {
    const dotenvFile = dotenv('MAX_BATCH_SIZE=1\nINPUT_TOPIC=file\nGROUP_ID="from file" # a comment\nOTHER=x\n')
    const env = { MAX_BATCH_SIZE: '2', INPUT_TOPIC: 'environment' }
    const { settings, sources } = loadSettings({ options: { maxBatchSize: '3' }, env, dotenvFile })
    assert.deepEqual([settings.maxBatchSize, sources.maxBatchSize], [3, 'option'])
    assert.deepEqual([settings.inputTopic, sources.inputTopic], ['environment', 'environment'])
    assert.deepEqual([settings.groupId, sources.groupId], ['from file', '.env'])
    assert.deepEqual([settings.httpPort, sources.httpPort], [0, 'default'])
    assert.equal(process.env.OTHER, undefined)
  })

  test('an empty text is not set, so the next layer counts', () => {
    const dotenvFile = dotenv('MAX_BATCH_SIZE=7\nGROUP_ID=\n')
    const { settings } = loadSettings({ options: { maxBatchSize: '' }, env: { MAX_BATCH_SIZE: ' ' }, dotenvFile })
    assert.equal(settings.maxBatchSize, 7)
    assert.equal(settings.groupId, 'sluice')
  })

  test('a .env that is not there is no error; one that cannot be read is', () => {
    assert.equal(loadSettings({ env: {}, dotenvFile: join(folder, 'absent') }).settings.groupId, 'sluice')
    assert.match(
      failure(() => loadSettings({ env: {}, dotenvFile: folder })),
      /cannot be read/,
    )
  })

  test('settings cannot be changed afterwards', () => {
    const { settings } = loadSettings({ env: {} })
    assert.throws(() => Object.assign(settings, { maxBatchSize: 1 }), TypeError)
  })

  test('required settings are named together', () => {
    const message = failure(() =>
      loadSettings({ env: { MODEL_NAME: 'm' }, required: ['inputTopic', 'outputTopic', 'modelName'] }),
    )
    assert.equal(message, 'not set, but needed here: INPUT_TOPIC (--input-topic), OUTPUT_TOPIC (--output-topic)')
  })
})

/** For every rule, in the order of the table: settings that break it and no rule before it. */
const VIOLATIONS: readonly Record<string, string>[] = [
  { KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USERNAME: 'u' },
  { KAFKA_SSL: 'true', KAFKA_SSL_CERT: 'c.pem' },
  { KAFKA_SSL_CA: 'ca.pem' },
  { INPUT_TOPIC: 'a', OUTPUT_TOPIC: 'a' },
  { INPUT_TOPIC: 'a', DEAD_LETTER_TOPIC: 'a' },
  { OUTPUT_TOPIC: 'a', DEAD_LETTER_TOPIC: 'a' },
  { INPUT_FORMAT: 'avro-raw' },
  { SCHEMA_REGISTRY_USERNAME: 'u' },
  { SESSION_TIMEOUT_MS: '30000' },
  { REQUEST_TIMEOUT_MS: '30000' },
  { FETCH_MAX_WAIT_MS: '10000' },
  { API_MAX_BODY_BYTES: '2048', API_MAX_WAITING_BYTES: '2047' },
]

describe('rules between settings', () => {
  assert.equal(VIOLATIONS.length, RULES.length)
  for (const [index, { sentence, keys }] of RULES.entries()) {
    test(sentence, () => {
      const message = failure(() => loadSettings({ env: VIOLATIONS[index]! }))
      assert.ok(message.startsWith(`${sentence} Given: ${envName(keys[0]!)}=`), message)
    })
  }

  test('the other halves of the pairs are missed too', () => {
    for (const env of [
      { KAFKA_SASL_USERNAME: 'u', KAFKA_SASL_PASSWORD: 'p' },
      { KAFKA_SASL_MECHANISM: 'plain' },
      { KAFKA_SSL: 'true', KAFKA_SSL_KEY: 'k.pem' },
      { SCHEMA_REGISTRY_PASSWORD: 'p' },
      { INPUT_TOPIC: 'a', OUTPUT_TOPIC: 'a.dlq' },
    ]) {
      failure(() => loadSettings({ env }))
    }
  })
})

describe('secrets', () => {
  const secrets = SETTING_KEYS.filter(key => settingOf(key).secret)
  const secretText = fc.stringMatching(/^Zq[A-Za-z0-9%]{8,40}$/)
  const seed = Number(process.env.FC_SEED ?? Date.now() % 2 ** 31)

  test(`never appear, whatever goes wrong (seed ${seed})`, () => {
    assert.deepEqual(secrets, ['kafkaSaslPassword', 'schemaRegistryPassword'])
    const attempt = (run: () => unknown): string => {
      try {
        const loaded = run() as ReturnType<typeof loadSettings>
        return JSON.stringify(redact(loaded.settings)) + formatSettings(loaded)
      } catch (error) {
        return `${(error as Error).message} ${(error as Error).stack}`
      }
    }
    const property = fc.property(secretText, text => {
      const named = Object.fromEntries(secrets.map(key => [envName(key), text]))
      const complete = {
        ...named,
        KAFKA_SASL_MECHANISM: 'plain',
        KAFKA_SASL_USERNAME: 'u',
        SCHEMA_REGISTRY_USERNAME: 'u',
      }
      const outputs = [
        attempt(() => loadSettings({ env: complete })),
        attempt(() => loadSettings({ env: named })),
        attempt(() => loadSettings({ env: complete, required: ['inputTopic'] })),
        ...secrets.map(key => attempt(() => loadSettings({ env: { [envName(key)]: `${text}\0` } }))),
        ...secrets.map(key => attempt(() => loadSettings({ env: {}, dotenvFile: dotenv(`${envName(key)}=${text}`) }))),
        ...secrets.flatMap(key => [
          attempt(() => parseOptions([`--${optionName(key)}x=${text}`])),
          attempt(() => parseOptions([`--${optionName(key)}x`, text])),
        ]),
        ...[
          'http://u:S@r/p',
          'https://S@r',
          'http://r/?token=S',
          'http://r/#S',
          'r:S@x',
          'http//u:S@r',
          'http://u:S@',
        ].map(form => attempt(() => loadSettings({ env: { SCHEMA_REGISTRY_URL: form.replace('S', text) } }))),
      ]
      for (const output of outputs) assert.ok(!output.includes(text), output)
    })
    fc.assert(property, { seed, numRuns: 60 })
  })

  test('an address is shown without them, and otherwise as it is', () => {
    const shown = (url: string) =>
      redact(loadSettings({ env: { SCHEMA_REGISTRY_URL: url } }).settings).SCHEMA_REGISTRY_URL
    assert.equal(shown('http://registry:8081'), 'http://registry:8081')
    assert.equal(shown('https://u:p@registry/api/v7'), 'https://***@registry/api/v7')
    assert.equal(shown('https://registry/?key=1'), 'https://registry/?***')
  })
})

test('`sluice config` prints every setting with value and source', () => {
  const text = formatSettings(loadSettings({ env: { MAX_BATCH_SIZE: '64' }, options: { inputTopic: 'in' } }))
  for (const key of SETTING_KEYS) assert.match(text, new RegExp(`^  ${envName(key)} .*`, 'm'))
  assert.match(text, /^ {2}MAX_BATCH_SIZE +64 +environment +Most rows/m)
  assert.match(text, /^ {2}INPUT_TOPIC +in +option /m)
  assert.match(text, /^ {2}OUTPUT_TOPIC +- +not set /m)
})
