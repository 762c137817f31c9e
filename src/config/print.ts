import { type LoadedSettings, showValue } from './load.ts'
import { envName, GROUPS, SETTING_KEYS, settingOf } from './settings.ts'

/** What `sluice config` prints: every setting by group, its value without secrets, where it came from, its meaning. */
export function formatSettings({ settings, sources }: LoadedSettings): string {
  const rows = SETTING_KEYS.map(key => ({
    group: settingOf(key).group,
    name: envName(key),
    value: showValue(key, settings[key]) || '-',
    source: settings[key] === undefined ? 'not set' : sources[key],
    doc: settingOf(key).doc,
  }))
  const width = (column: 'name' | 'value' | 'source') => Math.min(48, Math.max(...rows.map(row => row[column].length)))
  const [nameWidth, valueWidth, sourceWidth] = [width('name'), width('value'), width('source')]
  const line = (row: (typeof rows)[number]) =>
    `  ${row.name.padEnd(nameWidth)}  ${row.value.padEnd(valueWidth)}  ${row.source.padEnd(sourceWidth)}  ${row.doc}`
  const blocks = GROUPS.map(group => [group, ...rows.filter(row => row.group === group).map(line)].join('\n'))
  return `${blocks.join('\n\n')}\n`
}
