package payload

import "time"

// Micros reads a point in time out of a text, as microseconds since 1970 UTC;
// finer fractions are cut off. It takes RFC 3339 and its usual relaxations: a
// space for the T, no zone (UTC then), a zone without colon or minutes, no
// seconds, no time of day.
func Micros(s string) (us int64, ok bool) {
	r := digits{s: s, ok: true}
	year, month, day := r.number(4), r.after('-'), r.after('-')
	hour, minute, second, nanos, zone := 0, 0, 0, 0, 0
	if r.s != "" {
		r.one("Tt ")
		hour, minute = r.number(2), r.after(':')
		if r.next(":") {
			second = r.number(2)
			if r.next(".") {
				nanos = r.fraction()
			}
		}
		zone = r.zone()
	}
	if !r.ok || r.s != "" || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	if t.Day() != day { // no such day in that month
		return 0, false
	}
	return t.Add(-time.Duration(zone) * time.Minute).UnixMicro(), true
}

// digits takes a text apart from the left; the first mistake sticks.
type digits struct {
	s  string
	ok bool
}

// next takes one character of set if there is one.
func (d *digits) next(set string) bool {
	for i := range len(set) {
		if d.s != "" && d.s[0] == set[i] {
			d.s = d.s[1:]
			return true
		}
	}
	return false
}

func (d *digits) one(set string) { d.ok = d.next(set) && d.ok }

// number takes exactly n digits.
func (d *digits) number(n int) (v int) {
	if len(d.s) < n {
		d.ok = false
		return 0
	}
	for i := range n {
		c := d.s[i]
		if c < '0' || c > '9' {
			d.ok = false
			return 0
		}
		v = 10*v + int(c-'0')
	}
	d.s = d.s[n:]
	return v
}

// after takes a separator and two digits.
func (d *digits) after(sep byte) int {
	d.one(string(sep))
	return d.number(2)
}

// fraction takes the digits of a fraction of a second, in nanoseconds.
func (d *digits) fraction() (nanos int) {
	n := 0
	for unit := 100_000_000; n < len(d.s) && d.s[n] >= '0' && d.s[n] <= '9'; n++ {
		nanos += int(d.s[n]-'0') * unit
		unit /= 10
	}
	d.ok = d.ok && n > 0
	d.s = d.s[n:]
	return nanos
}

// zone takes the offset from UTC, in minutes; nothing means UTC.
func (d *digits) zone() int {
	if d.s == "" || d.next("Zz") {
		return 0
	}
	sign := 1
	if !d.next("+") {
		d.one("-")
		sign = -1
	}
	minutes := 60 * d.number(2)
	if d.s != "" {
		d.next(":")
		m := d.number(2)
		d.ok = d.ok && m <= 59
		minutes += m
	}
	d.ok = d.ok && minutes < 24*60
	return sign * minutes
}
