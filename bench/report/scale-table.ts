import type { ScaleCell } from '../scale.ts'
import { markdownTable } from './markdown.ts'
import { showNumber, showSpread } from './statistics.ts'

const HEAD = [
  'partitions',
  'replicas',
  'records/s',
  'transactions/s',
  'CPU s per million',
  'broker',
  'p50 / p99 ms',
  'lost',
  'RSS MiB of each',
  'connections of each',
]

export function scaleSection(cells: readonly ScaleCell[], workload: string): string {
  const rate = cells[0]!.latency.rate
  return [
    `### ${workload}: partitions and replicas`,
    `Replicas of one group on the same machine, exactly once, one run each. Latency at ${showNumber(rate)}/s over all ` +
      'partitions, after the input that was there before is done.',
    markdownTable(HEAD, cells.map(cellsOf)),
  ].join('\n\n')
}

function cellsOf({ partitions, replicas, throughput, latency, ...cell }: ScaleCell): string[] {
  const { recordsPerSecond, cpuPerMillion, brokerCpuPerMillion } = throughput
  return [
    String(partitions),
    String(replicas),
    showNumber(recordsPerSecond),
    showNumber(cell.transactionsPerSecond),
    showSpread([cpuPerMillion], 1),
    showSpread([brokerCpuPerMillion], 1),
    `${showNumber(latency.p50, 1)} / ${showNumber(latency.p99, 1)}`,
    showNumber(latency.lost),
    showSpread(cell.rssMiB),
    showSpread(cell.connections),
  ]
}
