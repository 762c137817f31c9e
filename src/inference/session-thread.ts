/**
 * The worker thread of one session: opens the model, says so, then runs what it is sent, one message at a time.
 * A thread of its own, because both `InferenceSession.create` and `run` of onnxruntime-node block theirs.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { InferenceSession } from 'onnxruntime-node'
import { messageOf } from '../core/errors.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { RunRequest, SessionReply, SessionRequest, SessionSetup, TrialRequest } from './messages.ts'
import { type ModelFiles, readModelFiles, StrangeWeights } from './model-files.ts'
import { labelOf } from './placement.ts'
import { sessionOptions } from './providers.ts'
import { leave } from './run-phase.ts'
import { Runner, tensorOf } from './runner.ts'
import type { GraphValue } from './signature.ts'
import { putStrings, takeStrings, viewSlot } from './slots.ts'

const setup = workerData as SessionSetup
const port = parentPort!

const session = await open()
if (session === undefined) port.close()
else serve(session)

/** Opens the model on the first provider that takes it, and reports which; undefined after reporting that none did. */
async function open(): Promise<InferenceSession | undefined> {
  const files = await readFiles()
  if (files === undefined) return undefined
  const refusals: string[] = []
  for (const provider of setup.providers) {
    try {
      const options = { ...sessionOptions(provider, setup.threads), externalData: files.weights }
      const opened = await InferenceSession.create(files.model, options)
      const signature = { inputs: opened.inputMetadata.map(graphValue), outputs: opened.outputMetadata.map(graphValue) }
      reply({ kind: 'opened', provider: labelOf(provider), passedOver: refusals, signature })
      return opened
    } catch (error) {
      refusals.push(`${labelOf(provider)}: ${messageOf(error)}`)
    }
  }
  reply({ kind: 'refused', code: 'session-failed', reason: refusals.join('; ') })
  return undefined
}

/** Undefined after reporting why they do not make a model. */
async function readFiles(): Promise<ModelFiles | undefined> {
  try {
    return await readModelFiles(setup)
  } catch (error) {
    const reason = messageOf(error)
    if (error instanceof StrangeWeights) {
      reply({ kind: 'refused', code: 'external-data', reason, references: error.references })
    } else reply({ kind: 'refused', code: 'model-corrupt', reason })
    return undefined
  }
}

function serve(opened: InferenceSession): void {
  const runner = new Runner(opened, setup, setup.phase)
  const slots = setup.slots.map((shared, id) => viewSlot(id, setup, setup.capacity, shared))
  port.on('message', (request: SessionRequest) => {
    // Without the port the thread ends by itself, once the run that is under way has left the runtime.
    if (request.kind === 'close') port.close()
    else if (request.kind === 'try') void tryRows(opened, request)
    else void run(runner, slots[request.slot]!, request)
  })
}

/** Runs rows that lie in no slot, and says only what shapes come out. */
async function tryRows(opened: InferenceSession, { inputs, outputs }: TrialRequest): Promise<void> {
  try {
    const feeds = inputs.map(input => {
      const rows = input.data.length / input.width
      return [input.tensor, tensorOf(input.type, input.data, [rows, ...input.rowShape])]
    })
    const results = await opened.run(Object.fromEntries(feeds), outputs)
    reply({ kind: 'tried', shapes: outputs.map(name => results[name]!.dims) })
  } catch (error) {
    reply({ kind: 'failed', reason: messageOf(error) })
  }
}

async function run(runner: Runner, slot: TensorSlot, { first, rows, strings }: RunRequest): Promise<void> {
  try {
    const startedAt = performance.now()
    putStrings(slot.inputs, first, strings)
    const stored = await runner.run(slot, first, rows)
    // The run was given up while it went on: nobody waits for an answer, and there will be no other run.
    if (!stored) return end()
    const computeMs = performance.now() - startedAt
    reply({ kind: 'finished', computeMs, strings: takeStrings(slot.outputs, first, rows) })
  } catch (error) {
    reply({ kind: 'failed', reason: messageOf(error) })
  }
}

/**
 * Answers, having said first that this thread is out of the runtime: after the answer the pool may send the next run,
 * and says then that the thread is inside again.
 */
function reply(message: SessionReply): void {
  leave(setup.phase)
  port.postMessage(message)
}

function end(): void {
  leave(setup.phase)
  port.close()
}

function graphValue(metadata: InferenceSession.ValueMetadata): GraphValue {
  if (!metadata.isTensor) return { name: metadata.name, type: null, shape: [] }
  const shape = metadata.shape.map(dimension => (typeof dimension === 'number' ? dimension : null))
  return { name: metadata.name, type: metadata.type, shape }
}
