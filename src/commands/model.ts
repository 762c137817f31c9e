import type { CommandGroup } from './command.ts'
import { modelCanary } from './model-canary.ts'
import { modelHistory } from './model-history.ts'
import { modelPromote } from './model-promote.ts'
import { modelRollback } from './model-rollback.ts'
import { modelShadow } from './model-shadow.ts'
import { modelStatus } from './model-status.ts'

const subcommands = {
  promote: modelPromote,
  canary: modelCanary,
  shadow: modelShadow,
  rollback: modelRollback,
  status: modelStatus,
  history: modelHistory,
}

/** `sluice model …`: which versions serve. A subcommand is a row here and a file of its own. */
export const model: CommandGroup = {
  usage: `sluice model ${Object.keys(subcommands).join('|')} [options]`,
  summary: 'says which versions of a model serve, and which have',
  help: `${Object.entries(subcommands)
    .map(([name, { summary, help }]) => `  ${name.padEnd(8)} ${summary}\n           ${exampleOf(help)}`)
    .join('\n')}

sluice model COMMAND --help says more.

Example:
  sluice model status iris-classifier`,
  subcommands,
}

/** The line after `Example:`. */
function exampleOf(help: string): string {
  return /^Example:\n\s*(.+)$/m.exec(help)?.[1] ?? ''
}
