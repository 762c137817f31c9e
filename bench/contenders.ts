import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command, Contender, Job } from './contender.ts'

const CLI = fileURLToPath(new URL('../src/cli.ts', import.meta.url))
const ECHO = fileURLToPath(new URL('./limits/echo.ts', import.meta.url))

/** `sluice worker` with what it is unless told otherwise, or with the settings that `env` names. */
export function worker(name = 'worker', env: Readonly<Record<string, string>> = {}): Contender {
  return {
    name,
    command: job => {
      const { workload, folder } = job
      return node([CLI, 'worker'], {
        ...settingsOf(job),
        MODEL_STORE: workload.store,
        MODEL_NAME: workload.modelName,
        MODEL_VERSION: workload.modelVersion,
        INPUT_FORMAT: workload.format,
        SCHEMA_DIR: join(folder, 'schemas'),
        HTTP_PORT: '0',
        LOG_FORMAT: 'json',
        LOG_LEVEL: 'info',
        ...env,
      })
    },
  }
}

/** The same consumed and published by the same client in the same transactions, and nothing computed. */
export const echo: Contender = {
  name: 'echo',
  command: job => {
    const { bundle, predictionBytes } = job.workload
    const { name, version, sha256 } = bundle.spec
    const model = { name, version, sha256, provider: 'cpu' }
    return node([ECHO], {
      ...settingsOf(job),
      ANSWER_BYTES: String(predictionBytes),
      ANSWER_MODEL: JSON.stringify(model),
    })
  },
}

/** The same consumed, and nothing published; offsets are committed at the pace of the worker's transactions. */
export const consume: Contender = {
  name: 'consume',
  command: job => node([ECHO], { ...settingsOf({ ...job, guarantee: 'at-least-once' }), ANSWER_BYTES: '0' }),
}

function node(args: readonly string[], env: Readonly<Record<string, string>>): Command {
  return { file: process.execPath, args, env }
}

/** What the worker and its limits have in common. */
function settingsOf({ brokers, groupId, inputTopic, outputTopic, guarantee, commitIntervalMs }: Job) {
  return {
    KAFKA_BROKERS: brokers,
    GROUP_ID: groupId,
    INPUT_TOPIC: inputTopic,
    OUTPUT_TOPIC: outputTopic,
    DEAD_LETTER_TOPIC: `${inputTopic}.dlq`,
    PROCESSING_GUARANTEE: guarantee,
    ...(commitIntervalMs === undefined ? {} : { COMMIT_INTERVAL_MS: String(commitIntervalMs) }),
  }
}
