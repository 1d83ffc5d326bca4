package model

// rule is one rule of the protocol that can be switched off, to see that the
// checker notices.
type rule int

const (
	noRule rule = iota
	awaitAll
	ownFsync
	ackAfterFsync
	activePrimary
	deadAlone
	lastActive
	fence
	epochCounts
	promiseEpoch
	clearAcks
	keepLog
	cutAtConflict
	dropWhenConfirmed
	noGap
	snapshotKeeps
	snapshotDrops
	dedup
	dedupCopied
	reconcileDedup
	runCounts
	ackEcho
	pendingRequired
	pendingDurable
	caughtUp
	senderSession
	expectedEpoch
	candidateLive
	sameDisk
	applyCommitted
	serveAfterCommit
	openedAfter
	completeIndex
	waitApplied
	readProof
	keepSuffix
	hlcOrder
	perField
	stampAbove
	promiseDurable
	placementDurable
	digestGate
	divergedAt
	copyNeeded
	detachedAppends
	openProvisional
	joinAnew
	confirmSwap
	confirmNonce
	confirmTime
	confirmKey
	reportSession
	evaluateApplied
	storedForm
	settingsFirst
	settingsForward
	retriesEnd
	retryWindow
	clientIDs
	floorByBoot
	floorLowest
	floorGate
	floorInLog
	lastPart
	openGroup
	wholeGroup
	consecutive
	drain
	stopAppending
	enterDead
	liveDrop
	confirmDrop
	keepRemoved
	keepLastActive
	staysLost
	ruleCount
)

// ruleInfo says what a rule is, and how it is seen to be missing.
type ruleInfo struct {
	name string
	text string // where the protocol says it; found: the search showed that it is needed
	trap string // what happens without it
	// missed says why nothing is seen without the rule; empty: it must be seen.
	missed string
	// scenario shows what a random search misses in tens of millions of steps.
	scenario func(*world)
	// with is switched off too: the trap needs it.
	with rule
	// seen lists what is reported without the rule.
	seen string
	// from is a seed at which, or soon after which, the rule is missed.
	from uint64
}

func ruleTable() [ruleCount]ruleInfo {
	return [ruleCount]ruleInfo{
		awaitAll:      {name: "await-all", text: "W6", trap: "acknowledged before all required replicas have it", seen: "I1 I2"},
		ownFsync:      {name: "own-fsync", text: "W5", trap: "the primary counts itself before its own fsync", seen: "I3"},
		ackAfterFsync: {name: "ack-after-fsync", text: "AppendAck", trap: "a follower acknowledges before its fsync", seen: "I1 I9"},
		activePrimary: {name: "active-primary", text: "C3", trap: "a Partial or Dead replica is picked as primary", seen: "I1 I2 I8 C8"},
		deadAlone:     {name: "dead-alone", text: "C2, C3", trap: "the Dead replica returns alone and is promoted", seen: "I1 I2 C8"},
		lastActive:    {name: "last-active", text: "C2", trap: "the last Active replica is marked Dead on a verdict", seen: "I1 I2 I8 C2"},
		fence:         {name: "fence", text: "C5", trap: "followers obey lower epochs, the old primary goes on", seen: "I1 I2 I3 I9 I10"},
		epochCounts:   {name: "epoch-counts", text: "state", trap: "a change of the record keeps its epoch", seen: "I9"},
		promiseEpoch: {name: "promise-epoch", text: "C5", trap: "who learns of a higher epoch goes on to obey the lower one",
			missed: "harmless: an acknowledgement under the lower epoch needs the new primary's too, and that has promised"},
		clearAcks:         {name: "clear-acks", text: "C5", trap: "a primary that is named again counts what followers had before", seen: "I1 I9", scenario: oldMatch},
		keepLog:           {name: "keep-log", text: "C4", trap: "a new primary begins at its commit index", seen: "I1 I2 I3"},
		cutAtConflict:     {name: "cut-at-conflict", text: "C6", trap: "the log is cut where a message ends", seen: "I1 I9"},
		dropWhenConfirmed: {name: "drop-when-confirmed", text: "C1", trap: "the primary drops a follower when it asks", seen: "I1 I2 I8"},
		noGap:             {name: "no-gap", text: "C9", trap: "the log is truncated while a Partial needs it, the gap is accepted", seen: "I2 I4 I9"},
		snapshotKeeps:     {name: "snapshot-keeps", text: "C6a", with: copyNeeded, trap: "a late snapshot cuts acknowledged entries", seen: "I1", from: 1211},
		snapshotDrops:     {name: "snapshot-drops", text: "C6a", trap: "a log that does not hold the place of a snapshot is kept behind it", seen: "I4", from: 3851},
		dedup:             {name: "dedup", text: "W2, D1", trap: "a retry after a failover is appended again", seen: "I6"},
		dedupCopied:       {name: "dedup-copied", text: "D1", trap: "a snapshot comes without dedup", seen: "I6", scenario: copiedOperation},
		reconcileDedup:    {name: "reconcile-dedup", text: "P6", trap: "a re-proposal is appended again", seen: "I6"},
		runCounts:         {name: "run", text: "S2", trap: "a restarted primary uses places again that followers hold", seen: "I1 I2 I4"},
		ackEcho:           {name: "ack-echo", text: "AppendAck", trap: "an acknowledgement of another term counts", seen: "I1 I2"},
		pendingRequired:   {name: "pending-required", text: "C8 (2)", trap: "a Partial becomes Active without being required first", seen: "I1 I8", from: 1170},
		pendingDurable:    {name: "pending-durable", text: "C8", trap: "pending is forgotten by a restart while the swap has happened", seen: "I1", from: 3049},
		caughtUp:          {name: "caught-up", text: "C8 (3)", trap: "a pending replica becomes Active before it has everything", seen: "I1 I8"},
		senderSession:     {name: "sender-session", text: "C10", trap: "a delayed SetState of an ended session is executed", seen: "C2a"},
		expectedEpoch:     {name: "expected-epoch", text: "C10", trap: "a SetState of an earlier epoch is executed", seen: "I1", scenario: oldRequest},
		candidateLive:     {name: "candidate-live", text: "C3", trap: "a candidate without a live session becomes primary", seen: "C2a"},
		sameDisk:          {name: "same-disk", text: "S3", trap: "a replica that lost its disk is taken for the old one", seen: "I1 I2 I3 I4 I8 I9"},
		applyCommitted:    {name: "apply-committed", text: "W7", trap: "entries are applied before they are committed", seen: "I3"},
		serveAfterCommit:  {name: "serve-after-commit", text: "R2a", trap: "a restarted replica serves before it knows the commit index", seen: "I8"},
		openedAfter:       {name: "opened-after", text: "R2a", trap: "the same, believing a message from before its restart", seen: "I8"},
		completeIndex:     {name: "complete-index", text: "R2a", trap: "a commit index counts that the primary does not know to be complete", seen: "I8"},
		waitApplied:       {name: "wait-applied", text: "W8", trap: "wait=true is answered at commit", seen: "I8"},
		readProof:         {name: "read-proof", text: "R3", trap: "a linearizable read without proof", seen: "I10", from: 176},
		keepSuffix:        {name: "keep-suffix", text: "P4", trap: "the detached view shows the log suffix but does not keep it", seen: "I9"},
		hlcOrder:          {name: "hlc-order", text: "P5", trap: "a late provisional entry is applied in the order of arrival", seen: "I9"},
		perField:          {name: "per-field", text: "P5", trap: "the last writer wins per point: an update of a field disappears", seen: "I9"},
		stampAbove:        {name: "stamp-above", text: "W4", trap: "a fresh stamp is not above all that were seen", seen: "I7 D2"},
		promiseDurable:    {name: "promise-durable", text: "state", trap: "the promise is not durable", seen: "I1", scenario: lostPromise},
		placementDurable: {name: "placement-durable", text: "state", trap: "the placement is not durable",
			missed: "I4 and C5 hold without it; P1 and R1 need it"},
		digestGate: {name: "digest-gate", text: "C8 (3)", trap: "a Partial with another digest becomes Active", seen: "C8", from: 151},
		copyNeeded: {name: "copy-needed", text: "found", trap: "an Active replica installs a snapshot, whose digest nobody compares", seen: "C8", from: 2530},
		divergedAt: {name: "diverged-at", text: "found", trap: "a late word that a copy differs wipes a newer copy", seen: "I1", scenario: lateDiverged},
		detachedAppends: {name: "detached-appends", text: "P3", trap: "a detached primary appends ordinary entries",
			missed: "harmless: it only fills the log"},
		openProvisional: {name: "open-provisional", text: "P7", trap: "a promotion while provisional operations are open",
			missed: "harmless"},
		joinAnew:     {name: "join-anew", text: "found", trap: "a replica that was taken out and in again re-proposes what nobody waited for", seen: "I6", scenario: rejoined},
		confirmSwap:  {name: "confirm", text: "C2a", trap: "a swap on the word of a session key alone", seen: "C2a", from: 325},
		confirmNonce: {name: "confirm-nonce", text: "C2a", trap: "the answer to another Confirm counts", seen: "C2a", from: 990},
		confirmTime:  {name: "confirm-time", text: "C2a", trap: "the swap is issued long after its Confirm", seen: "I9 C2a", from: 199},
		confirmKey: {name: "confirm-key", text: "C2a", trap: "the swap does not compare the session of who answered",
			missed: "it narrows the window of C2a: fewer shards stay without an Active replica"},
		reportSession: {name: "report-session", text: "C0", trap: "a report of an earlier disk makes a replica Active at birth",
			missed: "harmless: the primary confirms itself at birth, whoever is not there is marked Dead later"},
		evaluateApplied: {name: "evaluate-applied", text: "W3", trap: "a condition is evaluated while earlier entries are unapplied", seen: "W3"},
		storedForm:      {name: "stored-form", text: "W3a", trap: "each replica brings values into its own form", seen: "I2"},
		settingsFirst:   {name: "settings-first", text: "W11", trap: "a write is evaluated while a config entry is unapplied", seen: "W11"},
		settingsForward: {name: "settings-forward", text: "W11", trap: "a primary that was told less brings older settings back", seen: "W11"},
		retriesEnd:      {name: "retries-end", text: "D3", trap: "a coordinator retries longer than dedup remembers", seen: "I6"},
		retryWindow:     {name: "retry-window", text: "D2", trap: "the floor is not below the retry window", seen: "I6 I9"},
		clientIDs:       {name: "client-ids", text: "D2a", trap: "ids of clients are forgotten as early as those of coordinators", seen: "I6", from: 1334},
		floorByBoot:     {name: "floor-by-boot", text: "found", trap: "a wall clock that jumps makes dedup forget what is still retried", seen: "I6", from: 14180},
		floorLowest:     {name: "floor-lowest", text: "D2", trap: "the floor passes what a replica may still re-propose", seen: "I6 I9"},
		floorGate:       {name: "floor-gate", text: "D2a", trap: "a re-proposal below the floor is appended", seen: "D2", from: 6237},
		floorInLog:      {name: "floor-in-log", text: "D2", trap: "each replica prunes by its own clock", seen: "I2"},
		lastPart:        {name: "last-part", text: "W2, parts", trap: "the lookup finds any part of an operation that lost its tail", seen: "I9"},
		openGroup:       {name: "open-group", text: "W2, parts", trap: "the lookup does not see a group that is still being appended", seen: "I6"},
		wholeGroup:      {name: "whole-group", text: "P4, parts", trap: "a group without its last part is copied", seen: "I9"},
		consecutive:     {name: "consecutive", text: "parts", trap: "another entry comes between the parts of an operation", seen: "parts W11"},
		drain:           {name: "drain", text: "C3b", trap: "a handover is asked for while entries are uncommitted", seen: "C3b"},
		stopAppending:   {name: "stop-appending", text: "C3b", trap: "the primary goes on appending while it hands over", seen: "C3b", from: 162},
		enterDead:       {name: "enter-dead", text: "C0", trap: "a new replica enters as Active", seen: "I1 I8"},
		liveDrop:        {name: "live-drop", text: "C0 + C2", trap: "an Active replica is taken out while no other has a session", seen: "C2a"},
		confirmDrop:     {name: "confirm-drop", text: "C0 + C2a", trap: "an Active replica is taken out on the word of a session key", seen: "C2a", from: 531},
		keepRemoved:     {name: "keep-removed", text: "found", trap: "the files of a replica that was taken out go before an Active one confirms the placement without it", seen: "I9", from: 5073},
		keepLastActive:  {name: "keep-last-active", text: "C0", trap: "a drop takes out the last Active replica", seen: "C2 C2a"},
		staysLost:       {name: "stays-lost", text: "C0", trap: "after the last Active replica was removed, another one becomes primary", seen: "I1 I2 I8 C0"},
	}
}
