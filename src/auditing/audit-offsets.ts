import type { GroupView } from '../kafka/group-view.ts'
import { currentTopicId, endOffsets, type TopicView } from '../kafka/log-offsets.ts'
import type { StrayOffset } from './audit-contract.ts'

/** A broker that is asked for the topic's id just after the topic was created again may still know the old one. */
const SECOND_LOOK_MS = 500

/**
 * The group's offsets that are no places in the input as it is now: of a topic of the same name that was there before
 * (ADR 7), or past the end of the log. The group may be at work: the log is looked at after the offsets, so that it has
 * grown past them, and what seems astray is looked at a second time.
 * @throws SluiceError `broker-unreachable`, or kafkajs's errors
 */
export async function strayOffsets(group: GroupView, input: TopicView): Promise<readonly StrayOffset[]> {
  const found = await look(group, input)
  if (found.length === 0) return found
  await input.clock.sleep(SECOND_LOOK_MS)
  return look(group, input)
}

async function look(group: GroupView, input: TopicView): Promise<StrayOffset[]> {
  const committed = await group.committedWithMarks()
  const [topicId, ends] = await Promise.all([currentTopicId(input), endOffsets(input)])
  return committed.flatMap(({ offset, mark }, partition) => {
    if (offset < 0) return []
    const place = { partition, offset, end: ends[partition]! }
    if (mark?.topicId !== undefined && mark.topicId !== topicId) return [{ ...place, deletedTopicId: mark.topicId }]
    return offset > place.end ? [place] : []
  })
}
