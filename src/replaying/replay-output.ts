import { headerTexts } from '../audit/header-walker.ts'
import type { Clock } from '../core/clock.ts'
import type { RecordBatch } from '../core/record-batch.ts'
import { stableEndOffsets, startOffsets } from '../kafka/log-offsets.ts'
import { partitionCount } from '../kafka/offsets.ts'
import { TopicScan } from '../kafka/topic-scan.ts'

/** Of each partition so many of the last offsets are looked at; some of them are control records. */
const LAST = 100
const PATIENCE_MS = 500

const HEADERS = ['model-name', 'replay-id'].map(name => Buffer.from(name))

/** What is among the last records of a topic: predictions that no replay has made, and those of which replays. */
export async function lookAtOutput(
  cluster: KafkajsCluster,
  topic: string,
  clock: Clock,
): Promise<{ readonly live: boolean; readonly replays: ReadonlySet<string> }> {
  const replays = new Set<string>()
  const partitions = await partitionCount(cluster, topic)
  if (partitions === undefined) return { live: false, replays }
  const view = { cluster, topic, partitions, clock }
  const [starts, ends] = await Promise.all([startOffsets(view), stableEndOffsets(view)])
  let live = false
  const accept = (batch: RecordBatch) => {
    for (let i = 0; i < batch.count; i++) {
      const [model, replay] = headerTexts(batch, i, HEADERS) as [string, string]
      if (replay !== '') replays.add(replay)
      else live ||= model !== ''
    }
    batch.lease?.letGo()
  }
  const start = ends.map((end, partition) => Math.max(starts[partition]!, end - LAST))
  await new TopicScan({ ...view, start, accept }).readTo(ends, { patienceMs: PATIENCE_MS })
  return { live, replays }
}
