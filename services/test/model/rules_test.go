package model

// rule is one rule of the protocol that can be switched off, to see that the
// checker notices.
type rule int

const (
	noRule rule = iota
	awaitAll
	ackAfterFsync
	activePrimary
	deadAlone
	lastActive
	fence
	dropWhenConfirmed
	noGap
	snapshotKeeps
	dedup
	reconcileDedup
	runCounts
	ackEcho
	pendingRequired
	pendingDurable
	senderSession
	candidateLive
	sameDisk
	applyCommitted
	serveAfterCommit
	openedAfter
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
	confirmSwap
	confirmNonce
	confirmTime
	confirmKey
	reportSession
	evaluateApplied
	settingsFirst
	retriesEnd
	retryWindow
	floorLowest
	lowestNewest
	floorGate
	floorInLog
	lastPart
	openGroup
	wholeGroup
	drain
	stopAppending
	enterDead
	liveDrop
	confirmDrop
	confirmDropDead
	keepRemoved
	keepLastActive
	staysLost
	ruleCount
)

// ruleInfo says what a rule is, and how it is seen to be missing.
type ruleInfo struct {
	name string
	text string // where the protocol says it
	trap string // what happens without it
	// missed says why nothing is seen without the rule; empty: it must be seen.
	missed string
	// mix, if not 0, is the only mix of faults that is tried.
	mix mix
	// from is a seed at which, or soon after which, the rule is missed.
	from uint64
}

func ruleTable() [ruleCount]ruleInfo {
	return [ruleCount]ruleInfo{
		awaitAll:          {name: "await-all", text: "W6", trap: "acknowledged before all required replicas have it"},
		ackAfterFsync:     {name: "ack-after-fsync", text: "AppendAck", trap: "a follower acknowledges before its fsync"},
		activePrimary:     {name: "active-primary", text: "C3", trap: "a Partial or Dead replica is picked as primary"},
		deadAlone:         {name: "dead-alone", text: "C2, C3", trap: "the Dead replica returns alone and is promoted"},
		lastActive:        {name: "last-active", text: "C2", trap: "the last Active replica is marked Dead on a verdict"},
		fence:             {name: "fence", text: "C5", trap: "followers obey lower epochs, the old primary goes on"},
		dropWhenConfirmed: {name: "drop-when-confirmed", text: "C1", trap: "the primary drops a follower when it asks"},
		noGap:             {name: "no-gap", text: "C9", trap: "the log is truncated while a Partial needs it, the gap is accepted"},
		snapshotKeeps:     {name: "snapshot-keeps", text: "C6a", trap: "a late snapshot cuts acknowledged entries"},
		dedup:             {name: "dedup", text: "W2, D1", trap: "a retry after a failover is appended again"},
		reconcileDedup:    {name: "reconcile-dedup", text: "P6", trap: "a re-proposal is appended again"},
		runCounts:         {name: "run", text: "S2", trap: "a restarted primary uses places again that followers hold"},
		ackEcho:           {name: "ack-echo", text: "AppendAck", trap: "an acknowledgement of another term counts"},
		pendingRequired:   {name: "pending-required", text: "C8 (2)", trap: "a Partial becomes Active without being required first"},
		pendingDurable:    {name: "pending-durable", text: "C8", trap: "pending is forgotten by a restart while the swap has happened"},
		senderSession:     {name: "sender-session", text: "C10", trap: "a delayed SetState of an ended session is executed"},
		candidateLive:     {name: "candidate-live", text: "C3", trap: "a candidate without a live session becomes primary"},
		sameDisk:          {name: "same-disk", text: "S3", trap: "a replica that lost its disk is taken for the old one"},
		applyCommitted:    {name: "apply-committed", text: "W7", trap: "entries are applied before they are committed"},
		serveAfterCommit:  {name: "serve-after-commit", text: "R2a", trap: "a restarted replica serves before it knows the commit index"},
		openedAfter:       {name: "opened-after", text: "R2a", trap: "the same, believing a message from before its restart"},
		waitApplied:       {name: "wait-applied", text: "W8", trap: "wait=true is answered at commit"},
		readProof:         {name: "read-proof", text: "R3", trap: "a linearizable read without proof"},
		keepSuffix:        {name: "keep-suffix", text: "P4", trap: "the detached view shows the log suffix but does not keep it"},
		hlcOrder:          {name: "hlc-order", text: "P5", trap: "a late provisional entry is applied in the order of arrival"},
		perField:          {name: "per-field", text: "P5", trap: "the last writer wins per point: an update of a field disappears"},
		stampAbove:        {name: "stamp-above", text: "W4", trap: "a fresh stamp is not above all that were seen"},
		promiseDurable:    {name: "promise-durable", text: "state", trap: "the promise is not durable"},
		placementDurable: {name: "placement-durable", text: "state", trap: "the placement is not durable",
			missed: "I4 and C5 hold without it; P1 and R1 need it"},
		digestGate: {name: "digest-gate", text: "C8 (3)", trap: "a Partial with another digest becomes Active"},
		copyNeeded: {name: "copy-needed", text: "proposed", trap: "an Active replica installs a snapshot, whose digest nobody compares"},
		divergedAt: {name: "diverged-at", text: "proposed", trap: "a late word that a copy differs wipes a newer copy"},
		detachedAppends: {name: "detached-appends", text: "P3", trap: "a detached primary appends ordinary entries",
			missed: "harmless: it only fills the log"},
		openProvisional: {name: "open-provisional", text: "P7", trap: "a promotion while provisional operations are open",
			missed: "harmless"},
		confirmSwap:     {name: "confirm", text: "C2a", trap: "a swap on the word of a session key alone"},
		confirmNonce:    {name: "confirm-nonce", text: "C2a", trap: "the answer to another Confirm counts"},
		confirmTime:     {name: "confirm-time", text: "C2a", trap: "the swap is issued long after its Confirm"},
		confirmKey:      {name: "confirm-key", text: "C2a", trap: "the swap does not compare the session of who answered"},
		reportSession:   {name: "report-session", text: "C0", trap: "a report of an earlier disk makes a replica Active at birth"},
		evaluateApplied: {name: "evaluate-applied", text: "W3", trap: "a condition is evaluated while earlier entries are unapplied"},
		settingsFirst:   {name: "settings-first", text: "W11", trap: "a write is evaluated while a config entry is unapplied"},
		retriesEnd:      {name: "retries-end", text: "D3", trap: "a coordinator retries longer than dedup remembers"},
		retryWindow:     {name: "retry-window", text: "D2", trap: "the floor is not below the retry window"},
		floorLowest:     {name: "floor-lowest", text: "D2", trap: "the floor passes what a replica may still re-propose"},
		lowestNewest:    {name: "lowest-newest", text: "D2", trap: "an older report of what may be re-proposed replaces a newer one"},
		floorGate:       {name: "floor-gate", text: "D2a", trap: "a re-proposal below the floor is appended"},
		floorInLog:      {name: "floor-in-log", text: "D2", trap: "each replica prunes by its own clock"},
		lastPart:        {name: "last-part", text: "W2, parts", trap: "the lookup finds any part of an operation that lost its tail"},
		openGroup:       {name: "open-group", text: "W2, parts", trap: "the lookup does not see a group that is still being appended"},
		wholeGroup:      {name: "whole-group", text: "P4, parts", trap: "a group without its last part is copied"},
		drain:           {name: "drain", text: "C3b", trap: "a handover is asked for while entries are uncommitted"},
		stopAppending:   {name: "stop-appending", text: "C3b", trap: "the primary goes on appending while it hands over"},
		enterDead:       {name: "enter-dead", text: "C0", trap: "a new replica enters as Active"},
		liveDrop:        {name: "live-drop", text: "C0 + C2", trap: "an Active replica is taken out while no other has a session"},
		confirmDrop:     {name: "confirm-drop", text: "C0 + C2a", trap: "an Active replica is taken out on the word of a session key"},
		confirmDropDead: {name: "confirm-drop-dead", text: "C0 + C2a", trap: "a Dead or Partial replica is taken out though no Active one confirms itself"},
		keepRemoved:     {name: "keep-removed", text: "proposed", trap: "the files of a replica that was taken out go before an Active one confirms the placement without it"},
		keepLastActive:  {name: "keep-last-active", text: "C0", trap: "a drop takes out the last Active replica"},
		staysLost:       {name: "stays-lost", text: "C0", trap: "after the last Active replica was removed, another one becomes primary"},
	}
}
