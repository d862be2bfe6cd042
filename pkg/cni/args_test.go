package cni

import (
	"errors"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

func TestArgsOfARuntime(t *testing.T) {
	got, err := ParseArgs("K8S_POD_INFRA_CONTAINER_ID=4c1f;K8S_POD_UID=9b1f-22;IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0.db;CRIO_X=y=z")
	want := Args{PodNamespace: "shop", PodName: "web-0.db", PodUID: "9b1f-22", InfraContainerID: "4c1f"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestArgsErrorsNameTheKey(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "K8S_POD_NAMESPACE is missing",
		"K8S_POD_NAME=p":                        "K8S_POD_NAMESPACE is missing",
		"K8S_POD_NAMESPACE=n":                   "K8S_POD_NAME is missing",
		"K8S_POD_NAMESPACE=":                    `K8S_POD_NAMESPACE: "" is no valid value`,
		"K8S_POD_NAMESPACE=Shop;K8S_POD_NAME=p": `K8S_POD_NAMESPACE: "Shop" is no valid value`,
		"K8S_POD_NAMESPACE=n;K8S_POD_NAME=p/q":  `K8S_POD_NAME: "p/q" is no valid value`,
		"K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;K8S_POD_UID=a b":     `K8S_POD_UID: "a b" is no valid value`,
		"K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;OTHER=1":             `unknown keys ["OTHER"]`,
		"K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;IgnoreUnknown=0;A=1": `unknown keys ["A"]`,
		"K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;IgnoreUnknown=maybe": `IgnoreUnknown: "maybe"`,
		"K8S_POD_NAMESPACE": `"K8S_POD_NAMESPACE" is no KEY=value pair`,
		"=x":                `"=x" is no KEY=value pair`,
		"K8S_POD_NAMESPACE=n;K8S_POD_NAME=" + strings.Repeat("p", 5000): "at most 4096 are allowed",
	} {
		_, err := ParseArgs(text)
		var e *types.Error
		if !errors.As(err, &e) || e.Code != types.ErrInvalidEnvironmentVariables || !strings.HasPrefix(e.Msg, "CNI_ARGS: ") || !strings.Contains(e.Msg, want) {
			t.Errorf("ParseArgs(%.80q): %v, want %q", text, err, want)
		}
	}
}

func FuzzArgs(f *testing.F) {
	f.Add("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u;K8S_POD_INFRA_CONTAINER_ID=c")
	f.Add("K8S_POD_NAMESPACE=a;;K8S_POD_NAME=b=c;=;")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseArgs(text)
		if err != nil {
			var e *types.Error
			if !errors.As(err, &e) || e.Code == 0 || e.Msg == "" {
				t.Fatalf("no proper error: %v", err)
			}
			return
		}
		if !namespaceShape.MatchString(a.PodNamespace) || !podNameShape.MatchString(a.PodName) || !idShape.MatchString(a.PodUID) {
			t.Fatalf("accepted %+v", a)
		}
	})
}
