import { readFileSync } from 'node:fs'
import type { Admin } from 'kafkajs'

/** How fast a group went through its topic. */
export interface Measurement {
  readonly records: number
  /** From the first committed offset seen to the last one. */
  readonly seconds: number
  readonly recordsPerSecond: number
  /** Processor time of the process in that window; undefined where the system does not say. */
  readonly cpuSecondsPerMillion: number | undefined
  readonly rssMiB: number | undefined
}

const POLL_MS = 20

/**
 * Watches the committed offsets of a group until it has done all `records`. The measurement begins at the first commit
 * that is seen, so neither the start of the process nor the joining of the group counts.
 */
export async function measure(
  admin: Admin,
  groupId: string,
  topic: string,
  records: number,
  pid: number,
): Promise<Measurement> {
  let begin: { at: number; done: number; cpu: number | undefined } | undefined
  for (;;) {
    const done = await committed(admin, groupId, topic)
    const at = performance.now()
    const { cpu, rssMiB } = usageOf(pid)
    if (begin === undefined && done > 0) begin = { at, done, cpu }
    if (begin !== undefined && done >= records) {
      const seconds = (at - begin.at) / 1000
      const counted = done - begin.done
      const cpuSeconds = cpu === undefined || begin.cpu === undefined ? undefined : cpu - begin.cpu
      return {
        records: counted,
        seconds,
        recordsPerSecond: counted / seconds,
        cpuSecondsPerMillion: cpuSeconds === undefined ? undefined : (cpuSeconds / counted) * 1e6,
        rssMiB,
      }
    }
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

async function committed(admin: Admin, groupId: string, topic: string): Promise<number> {
  const [answer] = await admin.fetchOffsets({ groupId, topics: [topic] })
  return (answer?.partitions ?? []).reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0)
}

const TICKS_PER_SECOND = 100
const PAGE_MIB = 4096 / 2 ** 20

/** Processor seconds and memory of a process, where /proc tells. */
function usageOf(pid: number): { cpu: number | undefined; rssMiB: number | undefined } {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return { cpu: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND, rssMiB: Number(fields[21]) * PAGE_MIB }
  } catch {
    return { cpu: undefined, rssMiB: undefined }
  }
}
