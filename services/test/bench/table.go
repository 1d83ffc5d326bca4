package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// table is printed as markdown, and written as CSV.
type table struct {
	title, file string
	head        []string
	rows        [][]string
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		switch c := c.(type) {
		case float64:
			row[i] = number(c)
		default:
			row[i] = fmt.Sprint(c)
		}
	}
	t.rows = append(t.rows, row)
}

// number has three or more digits that count; "-" if it is none.
func number(f float64) string {
	switch a := math.Abs(f); {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return "-"
	case a >= 100:
		return fmt.Sprintf("%.0f", f)
	case a >= 10:
		return fmt.Sprintf("%.1f", f)
	case a >= 1 || a == 0:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.3f", f)
}

func printAll(dir string, all ...*table) (err error) {
	for _, t := range all {
		err = errors.Join(err, t.print(dir))
	}
	return err
}

func (t *table) print(dir string) error {
	if len(t.rows) == 0 {
		return t.write(dir) // in the place of what an earlier run may have left
	}
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, c := range row {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	line := func(cells []string) {
		for i, c := range cells {
			fmt.Printf("| %s%s ", c, strings.Repeat(" ", width[i]-len([]rune(c))))
		}
		fmt.Println("|")
	}
	fmt.Printf("\n%s\n\n", t.title)
	line(t.head)
	for _, w := range width {
		fmt.Print("| ", strings.Repeat("-", w), " ")
	}
	fmt.Println("|")
	for _, row := range t.rows {
		line(row)
	}
	return t.write(dir)
}

func (t *table) write(dir string) (err error) {
	f, err := os.Create(filepath.Join(dir, t.file))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := csv.NewWriter(f)
	return w.WriteAll(append([][]string{t.head}, t.rows...))
}
