import { after, before, describe, test } from 'node:test'
import { behaviours } from './behaviours.ts'
import { BrokerSubject } from './broker-subject.ts'
import { Stage } from './stage.ts'

/** They wait more than they work, and their names are their own. */
const AT_ONCE = 12

describe('the broker', { concurrency: AT_ONCE }, () => {
  const subject = new BrokerSubject()
  before(() => subject.open())
  after(() => subject.close())

  for (const [chapter, behavioursOfChapter] of Object.entries(behaviours)) {
    for (const { name, run } of behavioursOfChapter) {
      test(`${chapter}: ${name}`, async () => {
        const stage = new Stage(subject)
        try {
          await run(stage)
        } finally {
          await stage.close()
        }
      })
    }
  }
})
