import type { ThroughputResult } from '../throughput.ts'
import { atLeast, atMost, type Goal } from './goal.ts'
import { ratiosOf, spreadOf } from './statistics.ts'

/** Programs in other languages that do the worker's work. */
export const PEERS: readonly string[] = ['java', 'python']

/** The goals of a workload whose contenders were measured; others are left out. */
export function throughputGoals(result: ThroughputResult): Goal[] {
  const speed = (name: string) => valuesOf(result, name, run => run.recordsPerSecond)
  const cpu = (name: string) => valuesOf(result, name, run => run.cpuPerMillion)
  const memory = (name: string) => valuesOf(result, name, run => run.rssMiB)
  const runtime = (sessions: number) => {
    return result.runtime.find(each => each.sessions === sessions)?.runs.map(run => run.rowsPerSecond) ?? []
  }
  const peer = best(PEERS.map(name => [name, speed(name)] as const))
  switch (result.workload) {
    case 'iris':
      return [
        atLeast(0.8, 'worker / echo', ratiosOf(speed('worker'), speed('echo'))),
        atLeast(1.8, `worker / ${peer.name}, the better peer`, ratiosOf(speed('worker'), peer.speed)),
        atMost(5, 'CPU seconds per million', cpu('worker'), 1),
        atMost(350, 'RSS in MiB', memory('worker'), 0),
      ].flat()
    case 'ffnn':
      return [
        atLeast(0.8, 'worker / echo', ratiosOf(speed('worker'), speed('echo'))),
        atLeast(1.3, `worker / ${peer.name}, the better peer`, ratiosOf(speed('worker'), peer.speed)),
        atMost(0.5, `CPU of the worker / of ${peer.name}`, ratiosOf(cpu('worker'), cpu(peer.name)), 2),
      ].flat()
    case 'ffnn-json':
      return atLeast(15_000, 'records/s', speed('worker'), 0)
    case 'heavy':
      return [
        atLeast(0.95, 'worker / ONNX Runtime alone, one session', ratiosOf(speed('worker'), runtime(1))),
        atLeast(1.7, 'worker with two sessions / with one', ratiosOf(speed('worker-2-sessions'), speed('worker'))),
      ].flat()
    default:
      return []
  }
}

type Contender = ThroughputResult['contenders'][number]

function valuesOf(result: ThroughputResult, name: string, of: (run: Contender['runs'][number]) => number | undefined) {
  const runs = result.contenders.find(contender => contender.name === name)?.runs ?? []
  return runs.map(of).filter(value => value !== undefined)
}

function best(peers: readonly (readonly [string, readonly number[]])[]): { name: string; speed: readonly number[] } {
  const median = (values: readonly number[]) => spreadOf(values)?.median ?? 0
  const [name, speed] = peers.reduce((a, b) => (median(b[1]) > median(a[1]) ? b : a))
  return { name, speed }
}
