import { HeaderWalker } from './audit/header-walker.ts'
import type { Clock } from './core/clock.ts'
import type { RecordBatch } from './core/record-batch.ts'
import { stableEndOffsets, startOffsets } from './kafka/log-offsets.ts'
import { partitionCount } from './kafka/offsets.ts'
import { TopicScan } from './kafka/topic-scan.ts'

/** Of each partition so many of the last offsets are looked at; some of them are control records. */
const LAST = 100
const PATIENCE_MS = 500

const [MODEL_NAME, REPLAY_ID] = ['model-name', 'replay-id'].map(name => Buffer.from(name)) as [Buffer, Buffer]

/** Whether the last records of a topic are predictions that no replay has made. False where there is no such topic. */
export async function holdsLivePredictions(cluster: KafkajsCluster, topic: string, clock: Clock): Promise<boolean> {
  const partitions = await partitionCount(cluster, topic)
  if (partitions === undefined) return false
  const view = { cluster, topic, partitions, clock }
  const [starts, ends] = await Promise.all([startOffsets(view), stableEndOffsets(view)])
  let found = false
  const accept = (batch: RecordBatch) => {
    for (let i = 0; i < batch.count; i++) found ||= isLive(batch, i)
    batch.lease?.letGo()
  }
  const start = ends.map((end, partition) => Math.max(starts[partition]!, end - LAST))
  await new TopicScan({ ...view, start, accept }).readTo(ends, { patienceMs: PATIENCE_MS })
  return found
}

function isLive(batch: RecordBatch, index: number): boolean {
  const walker = new HeaderWalker()
  walker.enter(batch, index)
  let predicted = false
  while (walker.next()) {
    if (walker.isNamed(REPLAY_ID)) return false
    predicted ||= walker.isNamed(MODEL_NAME)
  }
  return predicted
}
