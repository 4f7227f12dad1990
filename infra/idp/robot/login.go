// Package robot logs in at the local stack's identity providers in place of a
// person with a browser.
package robot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
)

const (
	timeout      = 30 * time.Second
	maxRedirects = 10
	maxPage      = 1 << 20
)

// Login opens authorizeURL, fills in the login form and follows the redirects to
// the program's loopback listener, which so gets the code. It succeeds when the
// listener has answered.
//
// When the login is refused the error is what the page says. The password is
// sent only to the origin of authorizeURL. Login takes at most 30 seconds,
// follows at most 10 redirects in a row and reads at most 1 MiB of a page.
func Login(ctx context.Context, authorizeURL, login, password string) error {
	start, err := url.Parse(authorizeURL)
	if err != nil || start.Host == "" || start.Scheme != "http" && start.Scheme != "https" {
		return errors.New("couldn't log in: the authorization URL must be an absolute http or https URL")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	jar, err := cookiejar.New(nil)
	if err != nil {
		return fmt.Errorf("couldn't log in: %w", err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return nil
	}}
	defer browser.CloseIdleConnections()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, authorizeURL, nil)
	if err != nil {
		return fmt.Errorf("couldn't log in: %w", err)
	}
	page, err := visit(browser, request)
	if err != nil {
		return err
	}
	if page.form == nil {
		if err := page.refusal(); err != nil {
			return err
		}
		return fmt.Errorf("couldn't log in: %s shows no login form", bare(page.url))
	}
	action, err := page.url.Parse(page.form.action)
	if err != nil || action.Scheme != start.Scheme || action.Host != start.Host {
		return fmt.Errorf("couldn't log in: the form of %s sends the password to another site", bare(page.url))
	}
	page.form.values.Set(page.form.login, login)
	page.form.values.Set(page.form.password, password)
	request, err = http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(page.form.values.Encode()))
	if err != nil {
		return fmt.Errorf("couldn't log in: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	page, err = visit(browser, request)
	if err != nil {
		return err
	}
	if err := page.refusal(); err != nil {
		return err
	}
	if page.form != nil || page.url.Host == start.Host {
		return fmt.Errorf("couldn't log in: %s didn't lead back to the program", bare(page.url))
	}
	return nil
}

// page is what a visit ended on.
type page struct {
	url    *url.URL
	status int
	form   *form
	alert  string
}

// refusal returns what the page says went wrong, or nil.
func (p *page) refusal() error {
	query := p.url.Query()
	switch {
	case p.alert != "":
		return errors.New(p.alert)
	case query.Get("error") != "":
		if description := query.Get("error_description"); description != "" {
			return errors.New(description)
		}
		return fmt.Errorf("the login ended with %s", query.Get("error"))
	case p.status >= http.StatusBadRequest:
		return fmt.Errorf("couldn't log in: %s answered with status %d", bare(p.url), p.status)
	}
	return nil
}

func visit(browser *http.Client, request *http.Request) (*page, error) {
	response, err := browser.Do(request)
	if err != nil {
		// The URL in the error would hold the code or the state.
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return nil, fmt.Errorf("couldn't log in at %s: %w", bare(request.URL), err)
	}
	defer response.Body.Close()
	result := &page{url: response.Request.URL, status: response.StatusCode}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", bare(result.url), err)
	}
	if kind := response.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") {
		result.form, result.alert = read(string(body))
	} else if response.StatusCode >= http.StatusBadRequest {
		result.alert = strings.TrimSpace(string(body[:min(len(body), 500)]))
	}
	return result, nil
}

// bare returns the URL without what may be secret.
func bare(u *url.URL) string {
	return u.Scheme + "://" + u.Host + u.Path
}

// form is the first form that has a password field.
type form struct {
	action, login, password string
	values                  url.Values
}

// read finds the login form and the text of the first element with the role
// "alert".
func read(page string) (*form, string) {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return nil, ""
	}
	var found *form
	var alert string
	for node := range root.Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		if alert == "" && attribute(node, "role") == "alert" {
			alert = text(node)
		}
		if found == nil && node.Data == "form" {
			if candidate := readForm(node); candidate.password != "" && candidate.login != "" {
				found = candidate
			}
		}
	}
	return found, alert
}

func readForm(node *html.Node) *form {
	result := &form{action: attribute(node, "action"), values: url.Values{}}
	for input := range node.Descendants() {
		name := attribute(input, "name")
		if input.Type != html.ElementNode || input.Data != "input" || name == "" {
			continue
		}
		switch attribute(input, "type") {
		case "password":
			result.password = name
		case "", "text", "email":
			result.login = name
		case "hidden":
			result.values.Set(name, attribute(input, "value"))
		}
	}
	return result
}

func attribute(node *html.Node, key string) string {
	for _, a := range node.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(node *html.Node) string {
	var words []string
	for child := range node.Descendants() {
		if child.Type == html.TextNode {
			words = append(words, strings.Fields(child.Data)...)
		}
	}
	return strings.Join(words, " ")
}
