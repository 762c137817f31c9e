import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { METRICS } from '../../src/ops/metric-table.ts'

describe('the Grafana dashboard', () => {
  const text = readFileSync(new URL('../../deploy/grafana/dashboards/sluice.json', import.meta.url), 'utf8')

  it('asks only for metrics that a worker has', () => {
    const known = new Set(Object.values(METRICS).flatMap(series))
    const used = new Set(text.match(/\bsluice_\w+/g))
    assert.ok(used.size > 0)
    assert.deepEqual(
      [...used].filter(name => !known.has(name)),
      [],
    )
  })

  it('selects and groups only by labels that its metrics have', () => {
    // `by (a, b) (rate(metric{c=~"$c"}[…` and `by (a, b) (metric{…`; `le` and `instance` are Prometheus' own.
    const used = text.matchAll(/by \(([\w, ]+)\) \((?:\w+\()*(sluice_\w+?)(?:_bucket)?\{([^}]*)\}/g)
    const wrong = [...used].flatMap(([, groups, name, selector]) => {
      const metric = Object.values(METRICS).find(metric => metric.name === name)
      const labels = new Set<string>([...(metric?.labels ?? []), 'le', 'instance'])
      const asked = [...groups!.split(', '), ...Array.from(selector!.matchAll(/(\w+)=~/g), match => match[1]!)]
      return asked.filter(label => !labels.has(label)).map(label => `${name} has no label ${label}`)
    })
    assert.deepEqual(wrong, [])
  })
})

/** The names under which Prometheus stores a metric. */
function series({ name, type }: { name: string; type: string }): string[] {
  return type === 'histogram' ? ['_bucket', '_count', '_sum'].map(suffix => name + suffix) : [name]
}
