import { loadSettings } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import { connectionOptions } from '../connection.ts'
import { systemClock } from '../core/clock.ts'
import type { RolloutState } from '../core/rollout.ts'
import { planText } from '../core/rollout-changes.ts'
import type { Seat } from '../core/rollout-seats.ts'
import { RolloutDesk } from '../rollout/rollout-desk.ts'
import { type Command, namedModel } from './command.ts'

export const modelStatus: Command = {
  usage: 'sluice model status NAME [--json] [options]',
  summary: 'what is live, what is proposed, and what every replica does',
  help: `Reads ROLLOUT_TOPIC and asks for the members of GROUP_ID and of every other group that serves the model. Changes nothing.

Example:
  sluice model status iris-classifier --group-id sluice`,

  async run({ argv, env, dotenvFile, print, stderr }) {
    const { settings: options, extra, positionals } = parseOptions(argv, { json: 'boolean' })
    const model = namedModel(positionals, modelStatus.usage)
    const { settings } = loadSettings({ options, env, dotenvFile })
    const { groupId, rolloutTopic: topic } = settings
    const desk = await RolloutDesk.open({
      connection: connectionOptions(settings),
      topic,
      model,
      groupId,
      clock: systemClock,
      note: text => stderr.write(`${text}\n`),
    })
    try {
      const seats = (await desk.seats()).filter(({ group, report }) => report?.model === model || group === groupId)
      const { state } = desk
      if (!(await desk.exists()))
        stderr.write(`${topic} does not exist: replicas report once the first command has made it.\n`)
      if (extra.json) print(JSON.stringify({ model, state: state ?? null, members: seats }, null, 2))
      else print([...stateLines(model, state, topic), '', ...seatLines(seats, state, groupId)].join('\n'))
    } finally {
      await desk.close()
    }
  },
}

function stateLines(model: string, state: RolloutState | undefined, topic: string): string[] {
  if (state?.live === undefined && state?.proposed === undefined) {
    return [`${model}: ${topic} has no plan, so every replica serves the version that it chose at its start.`]
  }
  const { live, proposed, revision, former, at } = state
  const lines = [
    live === undefined
      ? `${model}: nothing is live yet`
      : `${model}: ${planText(live)} (revision ${revision}, last written ${new Date(at).toISOString()})`,
  ]
  if (proposed !== undefined) {
    lines.push(
      `proposed: ${planText(proposed.plan)}; live once every replica has it ready, unless its command was killed`,
    )
  }
  lines.push(former.length === 0 ? 'nothing to roll back to' : `before it, the latest first: ${former.join(', ')}`)
  return lines
}

function seatLines(seats: readonly Seat[], state: RolloutState | undefined, groupId: string): string[] {
  if (seats.length === 0) return [`Group ${groupId} has no members now, and no other group serves the model.`]
  const rows = seats.map(seat => {
    const place = seat.report?.place ?? `${seat.clientId} at ${seat.host}`
    return [seat.group, place, seat.memberId, doing(seat, state)] as const
  })
  const header = ['group', 'replica', 'member', 'serves'] as const
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map(row => row[i]!.length)))
  return [header, ...rows].map(row => {
    return row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd()
  })
}

/** What a member does, in a few words. */
function doing({ report }: Seat, state: RolloutState | undefined): string {
  if (report === undefined) return 'unknown: it has not reported'
  const { plan, revision, pinned } = report.serving
  const parts = [`${report.model} ${planText(plan)}`]
  if (pinned) parts.push('pinned by its own settings')
  else if (revision === 0) parts.push('its own choice')
  else parts.push(`revision ${revision}${revision < (state?.revision ?? 0) ? `, behind ${state!.revision}` : ''}`)
  const { prepared } = report
  const current = prepared !== undefined && prepared.proposal === state?.proposed?.id
  if (state?.proposed !== undefined && !pinned) {
    if (!current) parts.push('preparing the proposal')
    else if (prepared.problem === undefined) parts.push('ready for the proposal')
  }
  const { problem } = prepared ?? {}
  if (problem !== undefined)
    parts.push(`could not load version ${problem.version} (${problem.code}): ${problem.message}`)
  return parts.join('; ')
}
