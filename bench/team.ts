import { METRICS } from '../src/ops/metric-table.ts'
import type { Contender, Job } from './contender.ts'
import { ContenderProcess } from './contender-process.ts'
import type { Stage } from './stage.ts'
import { cpuSeconds } from './usage.ts'

/** Replicas of one group. */
export class Team {
  readonly members: readonly ContenderProcess[]
  /** Rejects when one of them ends before it is asked to. */
  readonly died: Promise<never>

  private constructor(members: readonly ContenderProcess[]) {
    this.members = members
    this.died = Promise.race(members.map(member => member.died))
    this.died.catch(() => {})
  }

  /** Starts Sluice workers, each with a folder of its own, and waits until all are ready. */
  static async start(stage: Stage, worker: Contender, replicas: number, job: Omit<Job, 'folder'>): Promise<Team> {
    const members: ContenderProcess[] = []
    for (let i = 0; i < replicas; i++) {
      const folder = await stage.folder(job.workload)
      const title = `replica ${i + 1} of ${job.groupId}`
      members.push(await ContenderProcess.start(worker.command({ ...job, folder }), folder, title))
    }
    const team = new Team(members)
    try {
      await Promise.race([Promise.all(members.map(member => member.ready())), team.died])
      return team
    } catch (error) {
      await team.stop()
      throw error
    }
  }

  /** Processor seconds of all. */
  get cpu(): number | undefined {
    return this.members
      .map(({ pid }) => cpuSeconds(pid))
      .reduce((sum, cpu) => (sum === undefined || cpu === undefined ? undefined : sum + cpu), 0)
  }

  /** Transactions that all have committed so far. */
  async transactions(): Promise<number> {
    const samples = (await Promise.all(this.members.map(member => member.metrics()))).flat()
    return samples
      .filter(({ name, labels }) => name === METRICS.transactions.name && labels.outcome === 'committed')
      .reduce((sum, { value }) => sum + value, 0)
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map(member => member.stop()))
  }
}
