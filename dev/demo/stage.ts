import { copyFile, mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Kafka } from 'kafkajs'
import { GuardedServer } from '../guarded.ts'
import { freePorts } from '../ports.ts'
import { FEATURES_SCHEMA_ID } from './flowers.ts'
import { type DemoKafka, findKafka, sessionTimeoutMs } from './kafka.ts'
import { step } from './pages.ts'
import { Publisher } from './publisher.ts'
import { AnswerReader } from './reader.ts'
import { Replica, untilServing } from './replica.ts'
import type { Screen } from './screen.ts'
import { createTopics, type DemoNames, freshNames, PARTITIONS, removeTopics } from './topics.ts'

export const MODEL = 'iris-classifier'

const START_PATIENCE_MS = 45_000
const pathOf = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** Everything that the demo needs, up and running. */
export interface Stage {
  readonly kafka: DemoKafka
  readonly names: DemoNames
  /** Schemas of features and predictions, with `ids.json`. */
  readonly schemas: string
  /** Two, in the order in which they started. */
  readonly replicas: readonly [Replica, Replica]
  /** Partitions of the first and of the second replica. */
  readonly partitions: readonly (readonly number[])[]
  readonly publisher: Publisher
  readonly reader: AnswerReader
  /** Starts one more replica of the group. */
  startReplica(name: string): Promise<Replica>
}

/**
 * Finds a Kafka, makes topics, starts replicas and a reader, and says so on the screen. `stack` undoes all of it, also
 * what was begun when this throws; when this process is killed, folders and processes go with it.
 * `onFailure` hears of a replica that ends by itself.
 */
export async function setStage(
  stack: AsyncDisposableStack,
  screen: Screen,
  signal: AbortSignal,
  onFailure: (error: Error) => void,
): Promise<Stage> {
  const kafka = await findKafka(line => screen.line(`  ${line}`), signal)
  stack.defer(() => kafka.stop())
  signal.throwIfAborted()
  step(screen, '✔', 'Kafka', `A message broker is up, ${kafka.origin}.`)

  const names = freshNames()
  await makeTopics(stack, kafka, names)
  step(screen, '✔', 'Topics', ...topicLines(names))

  const folder = await mkdtemp(join(tmpdir(), 'sluice-demo-'))
  const guard = new GuardedServer(folder)
  stack.defer(() => guard.close())
  const schemas = join(folder, 'schemas')
  await copyFeatureSchema(schemas)

  const env = replicaEnv(kafka, names, schemas, await sessionTimeoutMs(kafka.client))
  const startReplica = async (name: string) => {
    const [port] = await freePorts(1)
    const replica = new Replica({ name, folder, env, port: port! })
    stack.defer(async () => void (await replica.stop()))
    replica.failure.catch(onFailure)
    return replica
  }
  const replicas = [await startReplica('A'), await startReplica('B')] as const
  const { publisher, reader } = await connect(stack, kafka.client, names)
  const partitions = await untilServing(replicas, PARTITIONS, START_PATIENCE_MS, signal)
  const shares = partitions.map((own, i) => `${replicas[i]!.name} serves ${listed(own)}`).join(', ')
  step(
    screen,
    '✔',
    'Replicas',
    `Two copies of the worker have loaded the model ${MODEL} and share the partitions: ${shares}.`,
  )
  return { kafka, names, schemas, replicas, partitions, publisher, reader, startReplica }
}

/** `partitions 1 and 3` */
export function listed(partitions: readonly number[]): string {
  return `${partitions.length === 1 ? 'partition' : 'partitions'} ${partitions.join(' and ')}`
}

async function makeTopics(stack: AsyncDisposableStack, { client, stays }: DemoKafka, names: DemoNames): Promise<void> {
  await createTopics(client, names)
  if (stays) stack.defer(() => removeTopics(client, names))
}

function topicLines({ input, output, deadLetter }: DemoNames): string[] {
  const width = Math.max(input.length, output.length, deadLetter.length) + 2
  return [
    `${input.padEnd(width)}measurements, in ${PARTITIONS} partitions`,
    `${output.padEnd(width)}what the model says about them`,
    `${deadLetter.padEnd(width)}records that nobody could read`,
  ]
}

/** A folder of its own, because the workers add the schema of their predictions to it. */
async function copyFeatureSchema(folder: string): Promise<void> {
  await mkdir(folder)
  await copyFile(pathOf('schemas/iris-features.avsc'), join(folder, 'iris-features.avsc'))
  await writeFile(join(folder, 'ids.json'), `${JSON.stringify({ [FEATURES_SCHEMA_ID]: 'iris-features.avsc' })}\n`)
}

/** The settings of a replica. Of the demo's own environment it gets only what programs need to run. */
function replicaEnv(
  kafka: DemoKafka,
  { input, output, deadLetter, group }: DemoNames,
  schemas: string,
  sessionTimeout: number,
): NodeJS.ProcessEnv {
  const { PATH, HOME, LANG, TZ, NODE_EXTRA_CA_CERTS } = process.env
  return {
    ...{ PATH, HOME, LANG, TZ, NODE_EXTRA_CA_CERTS },
    ...kafka.env,
    GROUP_ID: group,
    INPUT_TOPIC: input,
    OUTPUT_TOPIC: output,
    DEAD_LETTER_TOPIC: deadLetter,
    MODEL_STORE: pathOf('models'),
    MODEL_NAME: MODEL,
    SCHEMA_DIR: schemas,
    SESSION_TIMEOUT_MS: String(sessionTimeout),
    INTRA_OP_THREADS: '1',
  }
}

async function connect(stack: AsyncDisposableStack, client: Kafka, names: DemoNames) {
  const publisher = new Publisher(client, names.input)
  stack.defer(() => publisher.close())
  const reader = new AnswerReader(client, names)
  stack.defer(() => reader.close())
  await Promise.all([publisher.connect(), reader.start()])
  return { publisher, reader }
}
