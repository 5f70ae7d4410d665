# Events, as lines for people: what, its sequence, from where to where, why, and what it costs from then on.
def pad($width): . + (" " * ([$width - length, 0] | max));
def cost: .billable
  | if (.replicas // 0) > 0 then "\(.replicas) pod\(if .replicas == 1 then "" else "s" end), \(.cpuMillicores) m cpu"
    elif ((.storageBytes // 0) | tonumber) > 0 then "\(.storageBytes) bytes stored"
    else "nothing" end;
sort_by(.recordedtime)
| map(.data)
| map({
    what: "\(.kind) \(if .namespace then .namespace + "/" else "" end)\(.name)",
    number: "#\(.sequence)",
    change: "\(.from // "·") → \(.to)",
    reason,
    cost: cost
  })
| (map(.what | length) | max) as $w1
| (map(.number | length) | max) as $w2
| (map(.change | length) | max) as $w3
| (map(.reason | length) | max) as $w4
| .[] | "\(.what | pad($w1))  \(.number | pad($w2))  \(.change | pad($w3))  \(.reason | pad($w4))  \(.cost)"
