// SPDX-License-Identifier: GPL-2.0
#include "datapath/traffic_control.h"

#include <array>
#include <libmnl/libmnl.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <memory>

namespace holdfast
{

namespace
{

int count_filter(const nlmsghdr *message, void *data)
{
	if (message->nlmsg_type == RTM_NEWTFILTER)
		++*static_cast<int *>(data);
	return MNL_CB_OK;
}

} // namespace

bool traffic_control_in_use(int interface_index)
{
	const std::unique_ptr<mnl_socket, decltype(&mnl_socket_close)> socket(mnl_socket_open(NETLINK_ROUTE),
									      mnl_socket_close);
	std::array<char, 32768> buffer{};
	int filters = 0;
	unsigned sequence = 0;

	if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0)
		return true; // not known: leave it alone
	for (const unsigned parent : {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS}) {
		nlmsghdr *message = mnl_nlmsg_put_header(buffer.data());
		auto *body = static_cast<tcmsg *>(mnl_nlmsg_put_extra_header(message, sizeof(tcmsg)));

		message->nlmsg_type = RTM_GETTFILTER;
		message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		message->nlmsg_seq = ++sequence;
		body->tcm_ifindex = interface_index;
		body->tcm_parent = TC_H_MAKE(TC_H_CLSACT, parent);
		if (mnl_socket_sendto(socket.get(), message, message->nlmsg_len) < 0)
			return true;
		int more = MNL_CB_OK;
		while (more == MNL_CB_OK) {
			const ssize_t length = mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());

			if (length < 0)
				return true;
			more = mnl_cb_run(buffer.data(), static_cast<size_t>(length), sequence,
					  mnl_socket_get_portid(socket.get()), count_filter, &filters);
		}
	}
	return filters > 0;
}

} // namespace holdfast
