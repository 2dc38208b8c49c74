package view

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/mattn/go-runewidth"
	"github.com/muesli/termenv"
)

// Look is how text is dressed. Colours are the terminal's own sixteen, so that they suit any background; meaning
// never hangs on colour alone.
type Look struct {
	r                           *lipgloss.Renderer
	bold, dim, good, bad, alert lipgloss.Style
	Width                       int
	unicode                     bool
}

// NewLook dresses for a writer: with colour or not, for width columns.
func NewLook(w io.Writer, color bool, width int) *Look {
	r := lipgloss.NewRenderer(w)
	// Said here, not asked of the terminal: a query can hang, and costs a start-up that help must not pay.
	r.SetColorProfile(termenv.Ascii)
	if color {
		r.SetColorProfile(termenv.ANSI)
	}
	r.SetHasDarkBackground(true)
	if width <= 0 {
		width = 80
	}
	return &Look{r: r, Width: width, unicode: utf8Locale(),
		bold: r.NewStyle().Bold(true), dim: r.NewStyle().Faint(true),
		good: r.NewStyle().Foreground(lipgloss.Color("2")), bad: r.NewStyle().Foreground(lipgloss.Color("1")).Bold(true),
		alert: r.NewStyle().Foreground(lipgloss.Color("3")).Bold(true)}
}

func utf8Locale() bool {
	for _, k := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(k); v != "" {
			return strings.Contains(strings.ToLower(strings.ReplaceAll(v, "-", "")), "utf8")
		}
	}
	return true
}

// icon of a row's state.
func (l *Look) icon(s state) string {
	set := []string{"·", "▸", "✓", "✗", "–"}
	if !l.unicode {
		set = []string{".", ">", "+", "x", "-"}
	}
	switch s {
	case done:
		return l.good.Render(set[s])
	case failed:
		return l.bad.Render(set[s])
	case running:
		return l.alert.Render(set[s])
	}
	return l.dim.Render(set[s])
}

// sides puts right at the right edge of the line, or leaves it out where there is no room.
func (l *Look) sides(left, right string) string {
	room := l.Width - 1 - ansi.StringWidth(left) - ansi.StringWidth(right)
	if room < 1 {
		left = l.cut(left, l.Width-2-ansi.StringWidth(right))
		room = l.Width - 1 - ansi.StringWidth(left) - ansi.StringWidth(right)
	}
	return left + strings.Repeat(" ", max(room, 1)) + right
}

// cut shortens to n columns, keeping styles whole.
func (l *Look) cut(s string, n int) string {
	if n < 1 {
		return ""
	}
	return ansi.Truncate(s, n, "…")
}

// pad fills up to n columns.
func pad(s string, n int) string {
	if w := runewidth.StringWidth(s); w < n {
		return s + strings.Repeat(" ", n-w)
	}
	return s
}

// wrap breaks text at words to fit below an indent; a word that is longer than the line is left whole,
// since commands and addresses are there to be copied.
func (l *Look) wrap(indent, text string) string {
	width := max(l.Width-1-runewidth.StringWidth(indent), 20)
	var out []string
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && runewidth.StringWidth(line)+1+runewidth.StringWidth(w) > width {
			out = append(out, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	out = append(out, line)
	return strings.Join(out, "\n"+indent)
}

// took shows a duration the way people say it: "0.4 s", "58 s", "3 min 02 s".
func took(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
}

// about rounds what is only a guess.
func about(d time.Duration) string {
	switch {
	case d < 2*time.Second:
		return "at once"
	case d < 100*time.Second:
		return fmt.Sprintf("about %d s", int((d+4*time.Second).Seconds())/5*5)
	}
	return fmt.Sprintf("about %d min", int((d + 30*time.Second).Minutes()))
}
