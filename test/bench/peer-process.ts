import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Job } from '../../bench/contender.ts'
import type { Peer } from '../../bench/peers/index.ts'
import type { Workload } from '../../bench/workload.ts'
import { predictionSchema } from '../../src/codec/prediction-schema.ts'
import { brokers, caughtUp } from '../support/broker.ts'
import type { Testbed } from '../support/testbed.ts'

/** Of the predictions, in the frame that peers write. */
const SCHEMA_ID = 1000

/** Tells the decoder of the testbed what a peer's predictions look like. */
export async function writePredictionSchema(schemaDir: string, workload: Workload, topic: string): Promise<void> {
  const idsFile = join(schemaDir, 'ids.json')
  const ids = JSON.parse(await readFile(idsFile, 'utf8')) as Record<string, string>
  await writeFile(join(schemaDir, 'predictions.avsc'), predictionSchema(workload.bundle.spec, topic))
  await writeFile(idsFile, JSON.stringify({ ...ids, [SCHEMA_ID]: 'predictions.avsc' }))
}

/** A peer at work on the topics of a testbed; it is killed when the test ends. */
export class PeerProcess {
  readonly #child: ChildProcess
  readonly #bed: Testbed
  readonly #exited: Promise<unknown[]>
  #output = ''

  private constructor(child: ChildProcess, bed: Testbed) {
    this.#child = child
    this.#bed = bed
    this.#exited = once(child, 'exit')
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', chunk => (this.#output += chunk))
  }

  static start(
    t: TestContext,
    peer: Peer,
    workload: Workload,
    bed: Testbed,
    options: Pick<Job, 'commitIntervalMs'> = {},
  ): PeerProcess {
    const { file, args, env } = peer.command({
      brokers: brokers().join(','),
      groupId: bed.group,
      inputTopic: bed.input,
      outputTopic: bed.output,
      workload,
      guarantee: 'exactly-once',
      folder: '',
      ...options,
    })
    const variables = { ...process.env, ...env, PREDICTION_SCHEMA_ID: String(SCHEMA_ID) }
    const child = spawn(file, args, { env: variables, stdio: ['ignore', 'pipe', 'pipe'] })
    t.after(() => child.kill('SIGKILL'))
    return new PeerProcess(child, bed)
  }

  /** Waits until the group has committed the end of the input. Throws with what the process said if it cannot. */
  async caughtUp(): Promise<void> {
    const giveUp = () => this.#child.exitCode !== null
    await caughtUp(this.#bed.group, this.#bed.input, { giveUp }).catch(error => {
      throw new Error(`${(error as Error).message}\n${this.#output}`, { cause: error })
    })
  }

  /** Sends SIGTERM, and fails with what the process said unless it exits with code 0. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM')
    const [code, signal] = await this.#exited
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, this.#output)
  }
}
