import { headerTexts } from '../audit/header-walker.ts'
import { COMPARED } from '../core/comparison.ts'
import type { SluiceError } from '../core/errors.ts'
import type { OutputSpec } from '../core/model.ts'
import type { RecordBatch } from '../core/record-batch.ts'
import { isScalar } from '../core/rows.ts'
import { endOffsets, startOffsets } from '../kafka/log-offsets.ts'
import { TopicScan } from '../kafka/topic-scan.ts'
import { type Agreement, Agreements } from '../replay/agreement.ts'
import { topicViewOf } from '../topic-views.ts'
import type { ReplayTools } from './replay-plan.ts'

/** How a replay and the live group agree, over all of the replay's predictions. */
export interface ReplayAgreement {
  readonly compared: number
  readonly different: number
  /** Predictions of records of which the live group has said nothing, or nothing that could be read. */
  readonly missing: number
  readonly classes: readonly Agreement[]
}

/** For transactions of the replay that end; those of others, which may stay open, are not waited for longer. */
const PATIENCE_MS = 5_000

const HEADERS = ['replay-id', COMPARED.version, COMPARED.prediction, COMPARED.differs].map(name => Buffer.from(name))

/**
 * Counts what the predictions of a replay say of themselves: whoever made them, and before whatever crash.
 * @param outputs of the model, for what is a class
 * @throws SluiceError what keeps it from reading
 */
export async function readAgreement(
  cluster: KafkajsCluster,
  { topic, id, outputs }: { readonly topic: string; readonly id: string; readonly outputs: readonly OutputSpec[] },
  { clock, signal, note }: ReplayTools,
): Promise<ReplayAgreement> {
  const view = await topicViewOf(cluster, topic, clock)
  // Not the stable end: what the group's offsets say is committed may be readable a little later.
  const [start, ends] = await Promise.all([startOffsets(view), endOffsets(view)])
  const agreements = new Agreements()
  const field = classFieldOf(outputs)
  const accept = (batch: RecordBatch) => {
    for (let index = 0; index < batch.count; index++) count(batch, index)
    batch.lease?.letGo()
  }
  const onTrouble = (error: SluiceError | undefined) => error && note(error.message)
  const unread = await new TopicScan({ ...view, start, accept, onTrouble }).readTo(ends, {
    patienceMs: PATIENCE_MS,
    signal,
  })
  if (unread.length > 0) note(`${topic} was not read to its end: the table is not of all.`)
  const { all: classes, missing } = agreements
  const sum = (of: 'compared' | 'different') => classes.reduce((total, agreement) => total + agreement[of], 0)
  return { compared: sum('compared'), different: sum('different'), missing, classes }

  function count(batch: RecordBatch, index: number): void {
    const [replay, version = '', prediction = '', differs] = headerTexts(batch, index, HEADERS)
    if (replay !== id) return
    if (version === '') agreements.missing++
    else agreements.count(version, field === undefined ? undefined : classIn(prediction, field), differs === 'true')
  }
}

/** A class is what a classifier says: the first whole number, text or truth value of its outputs. */
function classFieldOf(outputs: readonly OutputSpec[]): string | undefined {
  return outputs.find(output => isScalar(output) && !output.type.startsWith('float'))?.field
}

function classIn(prediction: string, field: string): string {
  return String((JSON.parse(prediction) as Record<string, unknown>)[field])
}
